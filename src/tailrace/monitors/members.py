"""Members of a JSON object that clients write in several ways: letter case, old names, null for unset."""

import difflib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tailrace.events import BadRequest, checked_text
from tailrace.events.times import EXAMPLE, given_time

MIN_SIMILARITY = 0.8  # of two names, from which one is taken for a misspelling of the other


def known_members(given: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return the members under the names that `known` has for their lower case; without null and unknown ones.

    Raise BadRequest for a misspelled name, and for a member that is given twice with different values.
    """
    members: dict[str, Any] = {}
    for key, value in given.items():
        name = known.get(key.lower())
        if name is None:
            check_spelling(key, known.values())
        elif value is not None:
            if name in members and members[name] != value:
                raise BadRequest(f"{name} is given twice, as {members[name]!r} and as {value!r}")
            members[name] = value
    return members


def check_spelling(key: str, known: Iterable[str]) -> None:
    """Raise BadRequest for a misspelling of a known name."""
    near = difflib.get_close_matches(key.lower(), [name.lower() for name in known], n=1, cutoff=MIN_SIMILARITY)
    if near:
        intended = next(name for name in known if name.lower() == near[0])
        raise BadRequest(f"unknown member {key!r}; did you mean {intended}?")


def text(members: Mapping[str, Any], name: str, most: int, *, lines: bool = False) -> str:
    """Return a text of at most so many characters, empty where it is not given; control characters as in
    `checked_text`.
    """
    value = members.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} is {_excerpt(value)}, but it is a text")
    return checked_text(value, name, most=most, lines=lines)


def flag(members: Mapping[str, Any], name: str) -> bool:
    """Return a boolean, false where it is not given; raise BadRequest."""
    value = members.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} is {_excerpt(value)}, but it is true or false")
    return value


def number(members: Mapping[str, Any], name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a number, 0 where it is not given; raise BadRequest."""
    value = members.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequest(f"{name} is {_excerpt(value)}, but it is a number")
    if not least <= value <= most:
        raise BadRequest(f"{name} is {value}, but it may be {least:g} to {most:g}")
    return float(value)


def whole(members: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """Return a whole number, 0 where it is not given; raise BadRequest."""
    value = number(members, name, least, most)
    if value != int(value):
        raise BadRequest(f"{name} is {value}, but it is a whole number")
    return int(value)


def texts(members: Mapping[str, Any], name: str, most: int) -> tuple[str, ...]:
    """Return a list of at most so many texts, empty where it is not given; raise BadRequest."""
    value = members.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadRequest(f"{name} is {_excerpt(value)}, but it is a list of texts")
    if len(value) > most:
        raise BadRequest(f"{name} has {len(value)} members, but it may have {most}")
    return tuple(dict.fromkeys(value))


def time(members: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time in UTC, None where it is not given or is Go's zero time; raise BadRequest."""
    value = members.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} is {_excerpt(value)}, but it is a time as text, like {EXAMPLE}, or null")
    return given_time(value, name)


def _excerpt(value: object) -> str:
    return repr(value)[:100]
