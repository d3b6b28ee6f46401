"""Request routing: the protocol of a request, by mount prefix, exclusive path, host, credential, or form of the path.

docs/routing.md shows the order to users.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import unquote

from msgspec import Struct

from tailrace.events.outcome import UNKNOWN_ROUTE
from tailrace.protocols.http import Handler, Headers, PathClaim, Protocol, Route, Segments

CACHED_PATHS = 4096  # and as many hosts
CACHED_PATH_BYTES = 1024  # longer ones are not cached, which bounds the size of the cache

_SHARED = "v1"  # the first segment of the paths that several protocols have
_AUTHORIZATION = b"authorization"
_NOT_CACHED = ""  # of a host
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})  # cached with a path

T = TypeVar("T")


class RouteMatch(Struct, frozen=True):
    """The protocol of a path, and the handler of each method where the protocol has such a path."""

    protocol: Protocol
    path: str  # percent-decoded, without the mount prefix
    handlers: dict[str, Handler]  # by method; empty when the path is not one of the protocol's
    params: dict[str, str]
    route: str = UNKNOWN_ROUTE  # with the names of its parameters in braces


class _PathClaims(Struct, frozen=True):
    """Which protocols claim a path under /v1, for a method."""

    first: str  # the protocol of a request without a credential
    bearer: str  # the protocol of one with an unknown credential in Authorization
    prefixes: tuple[bytes, ...]  # of Authorization, which only clients of the first send
    claims: dict[str, PathClaim]


class _CompiledRoute(Struct, frozen=True):
    """A route with its path as segments."""

    route: Route
    pattern: Segments


class _CachedPath(Struct):
    """A path in the cache: its protocol, or the protocols that have it."""

    segments: Segments
    fixed: RouteMatch | None = None  # by mount or exclusive path
    is_shared: bool = False
    matches: dict[str, RouteMatch] = {}  # by protocol, on demand
    path_claims: dict[str, _PathClaims] = {}  # by method, on demand


class Router:
    """Finds the protocol of a request; a path is parsed once and cached."""

    def __init__(
        self,
        protocols: Sequence[Protocol],
        *,
        api_paths: Iterable[str] = (),
        hosts: Mapping[str, str] | None = None,
        protocol_of: Callable[[str], str | None] = lambda secret: None,
    ) -> None:
        """`api_paths` are patterns of the management API; `hosts` maps further host names to protocols' names.

        Where several protocols claim the same, the later one has it. `protocol_of(secret)` returns the protocol of a
        known credential, "" for one of the API.
        """
        self.protocols = tuple(protocols)
        self._protocols = {protocol.name: protocol for protocol in protocols}
        self._default = next((protocol for protocol in protocols if protocol.has_api), protocols[0])
        self._doors = tuple(protocol for protocol in protocols if protocol.is_door)
        self._routes = {protocol.name: _compile(protocol) for protocol in protocols}
        self._api_patterns = [_segments(path.encode(), exact=False) for path in api_paths]
        # Paths of the API outside of /v1 are its own, whatever the host.
        collections = {collection for pattern in self._api_patterns for collection in pattern[1:2]}
        self._api_collections = collections - {_SHARED}
        self._absent = {segment for protocol in protocols for segment in protocol.claims.absent}
        vendors = {name: protocol.name for protocol in protocols for name in protocol.hosts}
        self._hosts = {**vendors, **{_host_name(name): protocol for name, protocol in (hosts or {}).items()}}
        self._protocol_of = protocol_of
        claiming = list(reversed(protocols))
        self._key_headers = tuple(
            (protocol.claims.key_header, self._default.name if protocol.is_door else protocol.name)
            for protocol in claiming
            if protocol.claims.key_header
        )
        self._bearers = [protocol.name for protocol in claiming if protocol.claims.bearer]
        self._api_headers = frozenset(self._default.claims.headers)
        self._client_headers = frozenset(name for protocol in claiming for name in protocol.claims.headers)
        self._instead = [protocol.claims.instead for protocol in claiming if protocol.claims.instead]
        self._path_cache: dict[bytes, _CachedPath] = {}
        self._host_cache: dict[bytes, str | None] = {}

    def match(self, method: str, raw_path: bytes, headers: Headers) -> RouteMatch:
        """Return the protocol and the handlers of a request, by its path as sent (without the query) and its headers.

        Raise what `protocol_of` raises where a credential cannot be looked up.
        """
        path = self._path_cache.get(raw_path)
        if path is None:
            path = self._parse_path(raw_path)
            _cache(self._path_cache, raw_path, path)
        if path.fixed is not None:
            return path.fixed
        host = headers.get(b"host", b"")
        name = self._host_cache.get(host, _NOT_CACHED)
        if name == _NOT_CACHED:
            name = self._protocol_of_host(host)
        if name is None:
            name = self._protocol_by_credential(path, method, headers) if path.is_shared else self._default.name
        match = path.matches.get(name)
        return match if match is not None else self._match_protocol(path, self._protocols.get(name, self._default))

    def unclaimed(self, raw_path: bytes) -> RouteMatch:
        """Return the match of a path whose protocol cannot be found out: the protocol of the API, without routes."""
        return RouteMatch(self._default, "/".join(_segments(raw_path, exact=True)), {}, {})

    def _parse_path(self, raw_path: bytes) -> _CachedPath:
        segments = _without_leading_slashes(_segments(raw_path, exact=True))
        for protocol in self._protocols.values():
            mount = _segments(protocol.mount.encode(), exact=True)
            if protocol.mount and segments[: len(mount)] == mount:
                inner = _without_leading_slashes(("", *segments[len(mount) :]))
                return _CachedPath(inner, fixed=self._match(protocol, inner))
        for protocol in self._protocols.values():
            for prefix in protocol.own_paths:
                own = _segments(prefix.encode(), exact=True)
                if segments[: len(own)] == own:
                    return _CachedPath(segments, fixed=self._match(protocol, segments))
        shared = segments[1] == _SHARED
        if segments[1] in self._api_collections:
            match = self._match(self._default, segments)  # of a door that has such a path itself, not one for any name
            if match.handlers and not match.route.startswith("/{"):
                return _CachedPath(segments, fixed=match)
        if segments[1] in self._api_collections or (shared and not self._absent.isdisjoint(segments)):
            return _CachedPath(segments, fixed=RouteMatch(self._default, "/".join(segments), {}, {}))
        return _CachedPath(segments, is_shared=shared)

    def _path_claims(self, path: _CachedPath, method: str) -> _PathClaims:
        claims = path.path_claims.get(method)
        if claims is None:
            claims = self._collect_claims(_without_trailing_slash(path.segments), method)
            if method in _METHODS:
                path.path_claims = {**path.path_claims, method: claims}
        return claims

    def _collect_claims(self, segments: Segments, method: str) -> _PathClaims:
        is_api = any(_match_pattern(pattern, segments) is not None for pattern in self._api_patterns)
        claims: dict[str, PathClaim] = {}
        owner = ""
        for protocol in reversed(self._protocols.values()):
            claim = protocol.claims.paths(method, segments[2:])
            if protocol is self._default:
                is_door = self._match(protocol, segments).protocol is not protocol
                claim = PathClaim.OWN if is_api else max(claim, PathClaim.ANY if is_door else PathClaim.NONE)
            if claim is PathClaim.OWN:
                claim = PathClaim.NONE if owner else claim
                owner = owner or protocol.name
            claims[protocol.name] = claim
        first = max(claims, key=claims.__getitem__) if any(claims.values()) else self._default.name
        bearer = max(self._bearers, key=claims.__getitem__) if self._bearers else first
        return _PathClaims(first, bearer, self._protocols[first].claims.prefixes, claims)

    def _match_protocol(self, path: _CachedPath, protocol: Protocol) -> RouteMatch:
        match = self._match(protocol, path.segments)
        path.matches = {**path.matches, protocol.name: match}
        return match

    def _match(self, protocol: Protocol, segments: Segments) -> RouteMatch:
        """Return the route of a path; among the paths of the API's protocol are those of the doors."""
        match = _match(protocol, self._routes[protocol.name], segments)
        if match.handlers or protocol is not self._default:
            return match
        doors = (_match(door, self._routes[door.name], segments) for door in self._doors)
        return next((found for found in doors if found.handlers), match)

    def _protocol_of_host(self, sent: bytes) -> str | None:
        """Return the protocol of a host, None where the host is no protocol's."""
        name = _host_name(sent.decode("latin-1"))
        protocol = self._hosts.get(name)
        while protocol is None and "." in name:
            name = name.partition(".")[2]
            protocol = self._hosts.get("*." + name)
        _cache(self._host_cache, sent, protocol)
        return protocol

    def _protocol_by_credential(self, path: _CachedPath, method: str, headers: Headers) -> str:
        """Return the protocol of a path under /v1: the first whose credential is known, else the first."""
        path_claims = path.path_claims.get(method) or self._path_claims(path, method)
        authorization = headers.get(_AUTHORIZATION)
        credentials: list[tuple[str, bytes]] = []  # with the protocol of each
        for header, name in self._key_headers:
            secret = headers.get(header)
            if secret is not None:
                credentials.append((name, secret))
        if authorization is not None:
            if not credentials and authorization.startswith(path_claims.prefixes):
                return path_claims.first  # it can be no other's, which saves the look-up
            claims = self._default.claims
            of_api = authorization.startswith(claims.prefixes) or not self._api_headers.isdisjoint(headers)
            credentials.append(self._bearer_credential(path_claims, _secret(authorization), of_api=of_api))
        elif not self._client_headers.isdisjoint(headers):
            secret = next((headers[name] for name in self._instead if name in headers), b"")
            of_api = not secret and not self._api_headers.isdisjoint(headers)
            credentials.append(self._bearer_credential(path_claims, secret, of_api=of_api))
        if not credentials:
            return path_claims.first
        if len(credentials) > 1:
            for name, secret in credentials:
                if self._protocol_of_credential(secret) == name:
                    return name
        return credentials[0][0]

    def _bearer_credential(self, path_claims: _PathClaims, secret: bytes, *, of_api: bool) -> tuple[str, bytes]:
        """Return the protocol of a credential in a header that several protocols use, and the credential if it decides.

        It does not where its protocol has no such path: that protocol answers, unless another header has a credential.
        An unknown one is the API's where only clients of the API send it so (`of_api`), to a path that the API has.
        """
        owner = self._protocol_of_credential(secret)
        if owner is None and of_api and path_claims.claims[self._default.name]:
            return self._default.name, secret
        if owner not in self._bearers:
            return path_claims.bearer, secret
        return owner, secret if path_claims.claims[owner] else b""

    def _protocol_of_credential(self, secret: bytes) -> str | None:
        owner = self._protocol_of(secret.decode("latin-1")) if secret else None
        return self._default.name if owner == "" else owner


def _secret(authorization: bytes) -> bytes:
    """Return the credential of an Authorization header, with a scheme before it or without; of Basic the password."""
    scheme, _, secret = authorization.strip().partition(b" ")
    secret = secret.strip()
    if scheme.lower() == b"basic":
        try:
            return b64decode(secret, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return secret or scheme


def _host_name(host: str) -> str:
    """Return a host without its port and final dot, in lower case; an IPv6 address keeps its brackets."""
    name = host.strip().lower()
    name = name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
    return name.removesuffix(".")


def _cache(memory: dict[bytes, T], key: bytes, value: T) -> None:
    if len(key) > CACHED_PATH_BYTES:
        return
    if len(memory) >= CACHED_PATHS:
        memory.clear()
    memory[key] = value


def _compile(protocol: Protocol) -> tuple[_CompiledRoute, ...]:
    return tuple(
        _CompiledRoute(route, _segments(route.path.encode(), exact=protocol.exact_slashes)) for route in protocol.routes
    )


def _match(protocol: Protocol, routes: tuple[_CompiledRoute, ...], segments: Segments) -> RouteMatch:
    """Return the handlers by method of the first pattern that matches, and the values of its named segments."""
    compared = segments if protocol.exact_slashes else _without_trailing_slash(segments)
    params: dict[str, str] | None = None
    handlers: dict[str, Handler] = {}
    name = UNKNOWN_ROUTE
    for route, pattern in ((each.route, each.pattern) for each in routes):
        values = _match_pattern(pattern, compared)
        if values is not None and (params is None or values == params):
            params = values
            name = name if handlers else route.path
            handlers.setdefault(route.method, route.handler)
    return RouteMatch(protocol, "/".join(segments), handlers, params or {}, name)


def _segments(raw_path: bytes, *, exact: bool) -> Segments:
    """Return a path's segments, split and then percent-decoded; the first is empty."""
    parts = raw_path.decode("utf-8", "replace").split("/")
    segments = tuple(unquote(part) if "%" in part else part for part in parts)
    return segments if exact else _without_trailing_slash(segments)


def _without_leading_slashes(segments: Segments) -> Segments:
    """Return the path with one leading slash, as base URLs often end in a slash; always two segments or more."""
    first = next((index for index, segment in enumerate(segments) if segment), len(segments) - 1)
    return ("", *segments[first:])


def _without_trailing_slash(segments: Segments) -> Segments:
    """Return the path without a trailing slash."""
    return segments[:-1] if len(segments) > 1 and not segments[-1] else segments


def _match_pattern(pattern: Segments, segments: Segments) -> dict[str, str] | None:
    if len(pattern) != len(segments):
        return None
    values: dict[str, str] = {}
    for part, segment in zip(pattern, segments, strict=True):
        if part.startswith("{"):
            if not segment:
                return None
            values[part[1:-1]] = segment
        elif part != segment:
            return None
    return values
