"""Arrow Flight SQL: the calls of its clients, each answered by requests to the application."""
