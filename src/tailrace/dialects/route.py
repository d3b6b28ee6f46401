"""Whose a request is: by mount prefix, exclusive path, host, credential, or what the path looks like.

docs/routing.md shows the order to users.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final
from urllib.parse import unquote

from msgspec import Struct

from tailrace.dialects import axiom, datamix
from tailrace.dialects.http import Dialect, Handler, Headers

DIALECTS: tuple[Dialect, ...] = (axiom.DIALECT, datamix.DIALECT)
CACHED_PATHS: Final = 4096  # paths remembered with their match, and hosts

_SHARED: Final = "v1"  # the first segment of the paths that dialects dispute
_MOESIF_KEY: Final = b"x-moesif-application-id"
_BASELIME_KEY: Final = b"x-api-key"
_AUTHORIZATION: Final = b"authorization"
_AXIOM_TOKENS: Final = (b"Bearer xaat-", b"Bearer xapt-")
_AXIOM_HEADERS: Final = (
    b"x-axiom-org-id",
    b"x-axiom-dataset",
    b"x-axiom-metrics-dataset",
    b"x-amz-firehose-access-key",
)
_MOESIF_NOUNS: Final = frozenset({"events", "actions", "users", "companies", "subscriptions"})
_MOESIF_GETS: Final = frozenset({"config", "rules"})
_MANAGEMENT: Final = "~"  # a segment of Moesif's management API, never the name of a dataset

Segments = tuple[str, ...]


class Match(Struct, frozen=True):
    """What is known of a path: its dialect, and the handler of each method where the dialect has such a path."""

    dialect: Dialect
    path: str  # percent-decoded, without the mount prefix
    handlers: dict[str, Handler]  # by method; empty when the path is not one of the dialect's
    params: dict[str, str]


class _Path(Struct):
    """A path looked at once: whose it is, or who disputes it."""

    segments: Segments
    fixed: Match | None = None  # by mount or exclusive path
    matches: dict[str, Match] = {}  # by dialect, made when first asked for
    is_shared: bool = False
    is_axiom: bool = False  # a route of Axiom's, for ingest or of the API
    looks_like_moesif: bool = False


class Router:
    """Finds whose a request is; a path is taken apart once and remembered."""

    def __init__(
        self,
        dialects: tuple[Dialect, ...] = DIALECTS,
        *,
        api_paths: Iterable[str] = (),
        hosts: Mapping[str, str] | None = None,
        dialect_of: Callable[[str], str | None] = lambda secret: None,
    ) -> None:
        """`api_paths` are patterns of the management API; `hosts` maps further host names to dialects' names.

        `dialect_of(secret)` tells whose a known credential is.
        """
        self._dialects = {dialect.name: dialect for dialect in dialects}
        self._default = dialects[0]
        self._api_patterns = [_segments(path.encode(), exact=False) for path in api_paths]
        vendors = {name: dialect.name for dialect in dialects for name in dialect.hosts}
        self._hosts = {**vendors, **{name.lower(): dialect for name, dialect in (hosts or {}).items()}}
        self._dialect_of = dialect_of
        self._paths: dict[bytes, _Path] = {}
        self._seen_hosts: dict[bytes, str | None] = {}

    def match(self, raw_path: bytes, headers: Headers) -> Match:
        """The dialect and the handlers of a request, by its path as sent (without the query) and its headers."""
        path = self._paths.get(raw_path)
        if path is None:
            path = self._look_at(raw_path)
            if len(self._paths) >= CACHED_PATHS:
                self._paths.clear()
            self._paths[raw_path] = path
        if path.fixed is not None:
            return path.fixed
        name = self._host(headers)
        if name is None:
            name = self._claimant(path, headers) if path.is_shared else self._default.name
        found = path.matches.get(name)
        return found if found is not None else self._matched(path, self._dialects.get(name, self._default))

    def _look_at(self, raw_path: bytes) -> _Path:
        segments = _segments(raw_path, exact=True)
        for dialect in self._dialects.values():
            mount = _segments(dialect.mount.encode(), exact=True)
            if segments[: len(mount)] == mount:
                inner = ("", *segments[len(mount) :]) if len(segments) > len(mount) else ("", "")
                return _Path(inner, fixed=_match(dialect, inner))
        shared = segments[1:2] == (_SHARED,)
        if shared and _MANAGEMENT in segments:
            return _Path(segments, fixed=Match(self._default, "/".join(segments), {}, {}))
        for dialect in self._dialects.values():
            for prefix in dialect.own_paths:
                own = _segments(prefix.encode(), exact=True)
                if segments[: len(own)] == own:
                    return _Path(segments, fixed=_match(dialect, segments))
        rest = _trimmed(segments)[2:]
        return _Path(
            segments,
            is_shared=shared,
            is_axiom=self._is_axiom(segments),
            looks_like_moesif=rest in {(noun,) for noun in _MOESIF_NOUNS | _MOESIF_GETS}
            or rest in {(noun, "batch") for noun in _MOESIF_NOUNS},
        )

    def _is_axiom(self, segments: Segments) -> bool:
        trimmed = _trimmed(segments)
        known = any(_fit(pattern, trimmed) is not None for pattern in self._api_patterns)
        return known or bool(_match(axiom.DIALECT, segments).handlers)

    def _matched(self, path: _Path, dialect: Dialect) -> Match:
        found = _match(dialect, path.segments)
        path.matches = {**path.matches, dialect.name: found}
        return found

    def _host(self, headers: Headers) -> str | None:
        sent = headers.get(b"host", b"")
        try:
            return self._seen_hosts[sent]
        except KeyError:
            pass
        name = sent.decode("latin-1").lower()
        if not name.startswith("["):
            name = name.partition(":")[0]
        found = self._hosts.get(name)
        parent = name
        while found is None and "." in parent:
            parent = parent.partition(".")[2]
            found = self._hosts.get("*." + parent)
        if len(self._seen_hosts) >= CACHED_PATHS:
            self._seen_hosts.clear()
        self._seen_hosts[sent] = found
        return found

    def _claimant(self, path: _Path, headers: Headers) -> str:
        """The dialect of a path under /v1 that several have: the first whose credential is known, else the first."""
        authorization = headers.get(_AUTHORIZATION)
        moesif = _MOESIF_KEY in headers
        baselime = _BASELIME_KEY in headers
        if not moesif and not baselime and authorization is not None and path.is_axiom:
            if authorization.startswith(_AXIOM_TOKENS):
                return "axiom"
            return self._bearer_of(authorization) or "axiom"
        claims: list[tuple[str, str]] = []  # dialect, and its credential
        if moesif:
            claims.append(("moesif", headers[_MOESIF_KEY].decode("latin-1")))
        if baselime:
            claims.append(("baselime", headers[_BASELIME_KEY].decode("latin-1")))
        if authorization is not None or any(name in headers for name in _AXIOM_HEADERS):
            owner = self._bearer_of(authorization or b"")
            known = owner is not None
            bearer = owner if owner == "baselime" else "axiom" if path.is_axiom else "baselime"
            claims.append((bearer, "" if not known else "known"))
        if not claims:
            if path.is_axiom:
                return "axiom"
            return "moesif" if path.looks_like_moesif else "baselime"
        if len(claims) > 1:
            for name, secret in claims:
                if secret == "known" or (secret and self._dialect_of(secret) == name):
                    return name
        return claims[0][0]

    def _bearer_of(self, authorization: bytes) -> str | None:
        """Whose the credential of an Authorization header is, with a scheme before it or without."""
        scheme, _, secret = authorization.strip().partition(b" ")
        return self._dialect_of((secret.strip() or scheme).decode("latin-1"))


def _match(dialect: Dialect, segments: Segments) -> Match:
    """The handlers by method of the first pattern that fits, and the values of its named segments."""
    wanted = segments if dialect.exact_slashes else _trimmed(segments)
    params: dict[str, str] | None = None
    handlers: dict[str, Handler] = {}
    for route in dialect.routes:
        values = _fit(_segments(route.path.encode(), exact=dialect.exact_slashes), wanted)
        if values is not None and (params is None or values == params):
            params = values
            handlers.setdefault(route.method, route.handler)
    return Match(dialect, "/".join(segments), handlers, params or {})


def _segments(raw_path: bytes, *, exact: bool) -> Segments:
    """A path's segments, percent-decoded after they are told apart, the first of them empty."""
    parts = raw_path.decode("utf-8", "replace").split("/")
    segments = tuple(unquote(part) if "%" in part else part for part in parts)
    return segments if exact else _trimmed(segments)


def _trimmed(segments: Segments) -> Segments:
    """Without a final slash."""
    return segments[:-1] if len(segments) > 1 and not segments[-1] else segments


def _fit(pattern: Segments, segments: Segments) -> dict[str, str] | None:
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
