"""Ingest processes beside the main one: their logs, what they share with it, and the requests that they pass on."""
