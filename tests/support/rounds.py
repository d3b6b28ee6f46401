"""How many rounds a test takes: few in `make test`, several times as many in `make test-long`."""

import os

ROUNDS = int(os.environ.get("TAILRACE_TEST_ROUNDS", "1"))


def rounds(few: int) -> int:
    """Return `few`, times what TAILRACE_TEST_ROUNDS says: of examples, kills, cuts, bodies of a fuzz."""
    return few * ROUNDS
