"""Reading the members of a JSON object that clients write in several ways: letter case, old names, null for unset."""

import difflib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from tailrace.events import BadRequest, checked_text
from tailrace.events.times import EXAMPLE, given_time

NEAR = 0.8  # of two names, the likeness from which one is taken for a slip of the other


def renamed(given: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    """Return the members under the names that `known` has for them in lower case; null is left out, as what is not
    known.

    Raise BadRequest for a name that is nearly a known one, and for a member that is given twice and differs.
    """
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = known.get(key.lower())
        if name is None:
            check_no_slip(key, known.values())
        elif value is not None:
            if name in found and found[name] != value:
                raise BadRequest(f"{name} is given twice, as {found[name]!r} and as {value!r}")
            found[name] = value
    return found


def check_no_slip(key: str, known: Iterable[str]) -> None:
    """Raise BadRequest for a name that is nearly a known one."""
    near = difflib.get_close_matches(key.lower(), [name.lower() for name in known], n=1, cutoff=NEAR)
    if near:
        meant = next(name for name in known if name.lower() == near[0])
        raise BadRequest(f"unknown member {key!r}; did you mean {meant}?")


def text(found: Mapping[str, Any], name: str, most: int, *, lines: bool = False) -> str:
    """Return a text of at most so many characters, empty where it is not given; control characters as in
    `checked_text`.
    """
    value = found.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} is {_shown(value)}, but it is a text")
    return checked_text(value, name, most=most, lines=lines)


def flag(found: Mapping[str, Any], name: str) -> bool:
    """Return a boolean, false where it is not given; raise BadRequest."""
    value = found.get(name, False)
    if not isinstance(value, bool):
        raise BadRequest(f"{name} is {_shown(value)}, but it is true or false")
    return value


def number(found: Mapping[str, Any], name: str, least: float = -math.inf, most: float = math.inf) -> float:
    """Return a number, 0 where it is not given; raise BadRequest."""
    value = found.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadRequest(f"{name} is {_shown(value)}, but it is a number")
    if not least <= value <= most:
        raise BadRequest(f"{name} is {value}, but it may be {least:g} to {most:g}")
    return float(value)


def whole(found: Mapping[str, Any], name: str, least: int, most: int) -> int:
    """Return a whole number, 0 where it is not given; raise BadRequest."""
    value = number(found, name, least, most)
    if value != int(value):
        raise BadRequest(f"{name} is {value}, but it is a whole number")
    return int(value)


def texts(found: Mapping[str, Any], name: str, most: int) -> tuple[str, ...]:
    """Return a list of at most so many texts, empty where it is not given; raise BadRequest."""
    value = found.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise BadRequest(f"{name} is {_shown(value)}, but it is a list of texts")
    if len(value) > most:
        raise BadRequest(f"{name} has {len(value)} members, but it may have {most}")
    return tuple(dict.fromkeys(value))


def moment(found: Mapping[str, Any], name: str) -> datetime | None:
    """Return a time in UTC, None where it is not given or is Go's zero time; raise BadRequest."""
    value = found.get(name, "")
    if not isinstance(value, str):
        raise BadRequest(f"{name} is {_shown(value)}, but it is a time as text, like {EXAMPLE}, or null")
    return given_time(value, name)


def _shown(value: object) -> str:
    return repr(value)[:100]
