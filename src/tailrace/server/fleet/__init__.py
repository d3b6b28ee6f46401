"""A server as a node of a fleet: requests that nodes forward to each other, and what each role runs."""
