"""The contracts between the engine and the systems it moves data between."""
