"""Doors: open protocols and other vendors' ways to send events, each with the API's tokens, a module each."""
