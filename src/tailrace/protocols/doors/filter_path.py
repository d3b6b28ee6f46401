"""The parameter `filter_path`, by which clients of Elasticsearch ask for parts of an answer."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from tailrace.events import BadRequest

MAX_PATHS = 64
MAX_CHARACTERS = 4096
MAX_SEGMENTS = 16  # of a path: each `**` in it multiplies the work

Path = tuple[str, ...]


class FilterPath(Struct, frozen=True):
    """The paths of an answer that are asked for, and those that are not wanted.

    A segment may have wildcards `*`; `**` stands for any number of segments. Arrays are no segments.
    """

    includes: tuple[Path, ...] = ()  # all, where there are none
    excludes: tuple[Path, ...] = ()

    def apply(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Return the parts of an answer; objects and arrays of which nothing is left are left out, as Elastic does."""
        if self.includes:
            answer = _included(answer, self.includes) or {}
        if self.excludes:
            answer = _excluded(answer, self.excludes) or {}
        return answer


EVERYTHING = FilterPath()


@lru_cache(maxsize=256)
def filter_of(parameter: str) -> FilterPath:
    """Return the filter of a parameter's value: paths separated by commas. Raise BadRequest for very many of them."""
    if not parameter:
        return EVERYTHING
    names = [name.strip() for name in parameter[: MAX_CHARACTERS + 1].split(",") if name.strip()]
    paths = [tuple(name.removeprefix("-").split(".")) for name in names]
    if len(parameter) > MAX_CHARACTERS or len(paths) > MAX_PATHS or any(len(path) > MAX_SEGMENTS for path in paths):
        raise BadRequest(
            f"filter_path has at most {MAX_PATHS} paths of {MAX_SEGMENTS} segments, and {MAX_CHARACTERS} characters"
        )
    signed = list(zip(names, paths, strict=True))
    return FilterPath(
        tuple(path for name, path in signed if not name.startswith("-")),
        tuple(path for name, path in signed if name.startswith("-")),
    )


def _included(value: Any, paths: Sequence[Path]) -> Any:
    """Return what is at the paths, None where nothing is."""
    if isinstance(value, list):
        return [part for part in (_included(each, paths) for each in value) if part is not None] or None
    if not isinstance(value, dict):
        return None
    parts: dict[str, Any] = {}
    for name, member in value.items():
        rests = _rests(name, paths)
        part = member if () in rests else _included(member, rests)
        if part is not None:
            parts[name] = part
    return parts or None


def _excluded(value: Any, paths: Sequence[Path]) -> Any:
    """Return what is not at the paths, None where nothing is left of an object or an array."""
    if isinstance(value, list):
        return [part for part in (_excluded(each, paths) for each in value) if part is not None] or None
    if not isinstance(value, dict):
        return value
    parts: dict[str, Any] = {}
    for name, member in value.items():
        rests = _rests(name, paths)
        part = None if () in rests else _excluded(member, rests)
        if part is not None:
            parts[name] = part
    return parts or None


def _rests(name: str, paths: Sequence[Path]) -> list[Path]:
    """Return what is left of the paths below a member of that name: () where one ends there."""
    rests: set[Path] = set()
    for path in paths:
        if not path:
            continue
        if path[0] == "**":
            rests.add(path)
            path = path[1:]
            if not path:
                rests.add(())
                continue
        if _matches(name, path[0]):
            rests.add(path[1:])
    return sorted(rests)


def _matches(name: str, pattern: str) -> bool:
    """Whether a name fits a pattern with wildcards `*`, in time in proportion to both."""
    first, *others = pattern.split("*")
    if not others:
        return name == pattern
    last = others.pop()
    if not name.startswith(first) or len(name) < len(first) + len(last) or not name.endswith(last):
        return False
    at, end = len(first), len(name) - len(last)
    for part in others:
        found = name.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
