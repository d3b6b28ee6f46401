"""Whose a request is: the table of dialects, their mount prefixes and their paths."""

from msgspec import Struct

from tailrace.dialects import axiom
from tailrace.dialects.http import Dialect, Handler

DIALECTS: tuple[Dialect, ...] = (axiom.DIALECT,)
DEFAULT = axiom.DIALECT  # whose shape an answer has when no path says otherwise
CACHED_PATHS = 4096  # paths remembered with their match


class Match(Struct, frozen=True):
    """What is known of a path: its dialect, and the handler of each method where the dialect has such a path."""

    dialect: Dialect
    path: str  # without the mount prefix
    handlers: dict[str, Handler]  # by method; empty when the path is not one of the dialect's
    params: dict[str, str]


class Router:
    """Finds the match of a path in a table of dialects; a path is looked up once and remembered."""

    def __init__(self, dialects: tuple[Dialect, ...] = DIALECTS, default: Dialect = DEFAULT) -> None:
        self._dialects = dialects
        self._default = default
        self._cache: dict[str, Match] = {}

    def match(self, path: str) -> Match:
        """The dialect and the handlers of a percent-decoded path; a trailing slash makes no difference."""
        found = self._cache.get(path)
        if found is None:
            found = self._find(path)
            if len(self._cache) >= CACHED_PATHS:
                self._cache.clear()
            self._cache[path] = found
        return found

    def _find(self, path: str) -> Match:
        for dialect in self._dialects:
            if path == dialect.mount or path.startswith(dialect.mount + "/"):
                inner = path[len(dialect.mount) :] or "/"
                handlers, params = _handlers(dialect, inner)
                return Match(dialect, inner, handlers, params)
        for dialect in self._dialects:
            handlers, params = _handlers(dialect, path)
            if handlers:
                return Match(dialect, path, handlers, params)
        return Match(self._default, path, {}, {})


def _handlers(dialect: Dialect, path: str) -> tuple[dict[str, Handler], dict[str, str]]:
    """The handlers by method of the first pattern that fits, and the values of its named segments."""
    segments = _segments(path)
    params: dict[str, str] | None = None
    handlers: dict[str, Handler] = {}
    for route in dialect.routes:
        values = _fit(_segments(route.path), segments)
        if values is not None and (params is None or values == params):
            params = values
            handlers.setdefault(route.method, route.handler)
    return handlers, params or {}


def _segments(path: str) -> list[str]:
    trimmed = path[:-1] if path.endswith("/") else path
    return trimmed.split("/")


def _fit(pattern: list[str], segments: list[str]) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    values: dict[str, str] = {}
    for wanted, got in zip(pattern, segments, strict=True):
        if wanted.startswith("{"):
            if not got:
                return None
            values[wanted[1:-1]] = got
        elif wanted != got:
            return None
    return values
