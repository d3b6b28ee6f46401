"""Backups: what a running server gives to be copied, the place where backups are, and restoring from one"""
