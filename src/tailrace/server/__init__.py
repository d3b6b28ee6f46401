"""Opens the stores, builds the parts over them from the settings, and runs the HTTP server."""
