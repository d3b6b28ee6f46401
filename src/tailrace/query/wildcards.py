"""Patterns in which stars stand for any characters, of names and texts."""

import re
from collections.abc import Sequence


def wildcard(parts: Sequence[str]) -> re.Pattern[str]:
    """Return a regex that all of a text matches which has the parts in this order, stars being between them.

    It looks at a text about once for each part, whatever the text is: what a part was found at is not tried elsewhere.
    """
    first, *others = map(re.escape, parts)
    if not others:
        return re.compile(first)
    *middle, last = others
    return re.compile(first + "".join(f"(?>.*?{part})" for part in middle) + ".*" + last, re.DOTALL)
