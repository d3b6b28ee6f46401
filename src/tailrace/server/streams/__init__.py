"""Listeners of the doors that are no HTTP: connections by TCP and TLS, and datagrams, with bounds."""
