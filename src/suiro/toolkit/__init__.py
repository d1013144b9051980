"""Parts that connectors are made of."""
