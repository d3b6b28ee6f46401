"""The tree of an APL query to one SQL expression."""
