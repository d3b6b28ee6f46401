"""The lake of another node, over Arrow Flight: the server over a lake, its authentication, and a lake of all nodes."""
