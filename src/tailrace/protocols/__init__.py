"""The client protocols: a module each, with its routes, credentials, limits and answers, and the router between
them. They know the shape of the ingest service, not its code."""
