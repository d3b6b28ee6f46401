"""Queries over many files, run as parts: what each part computes, who runs it, and what is made of their answers."""
