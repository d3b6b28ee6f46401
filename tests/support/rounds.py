"""The rounds of a test: a third in `make test`, a fifth in `make test-fast`, three times in `make test-long`."""

import os

ROUNDS = float(os.environ.get("TEST_ROUNDS", "1"))  # no name of TAILRACE_…, which the server would take for a setting


def rounds(few: int) -> int:
    """Return `few` times what TEST_ROUNDS says, and at least 1: of examples, kills, cuts, bodies of a fuzz."""
    return max(1, round(few * ROUNDS))
