"""Tailrace: a self-hosted event server for the clients of Axiom, Baselime, Datamix and Moesif."""

__version__ = "0.2.0"
