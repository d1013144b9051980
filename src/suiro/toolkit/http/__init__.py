"""What connectors to web services share: the client, credentials, pages, and JSON as Arrow."""
