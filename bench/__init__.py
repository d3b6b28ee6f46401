"""Measures a server against the limits of the machine it runs on."""
