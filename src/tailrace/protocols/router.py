"""Request routing: the protocol of a request, by mount prefix, exclusive path, host, credential, or look of the path.

docs/routing.md shows the order to users.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import unquote

from msgspec import Struct

from tailrace.events.outcome import UNKNOWN_ROUTE
from tailrace.protocols.http import Handler, Headers, PathClaim, Protocol, Segments

CACHED_PATHS = 4096  # paths remembered with their match, and hosts
CACHED_PATH_BYTES = 1024  # longer ones are not remembered, so that what is remembered stays small

_SHARED = "v1"  # the first segment of the paths that several protocols have
_AUTHORIZATION = b"authorization"
_UNSEEN = ""  # of a host that was not looked for yet
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})  # remembered with a path

T = TypeVar("T")


class RouteMatch(Struct, frozen=True):
    """What is known of a path: its protocol, and the handler of each method where the protocol has such a path."""

    protocol: Protocol
    path: str  # percent-decoded, without the mount prefix
    handlers: dict[str, Handler]  # by method; empty when the path is not one of the protocol's
    params: dict[str, str]
    route: str = UNKNOWN_ROUTE  # with the names of its parameters in braces


class _Owners(Struct, frozen=True):
    """How far a path under /v1 is each protocol's, for a method."""

    first: str  # whose it is without a credential
    bearer: str  # and with an unknown one in Authorization
    prefixes: tuple[bytes, ...]  # of Authorization, which say that it is for the first
    standings: dict[str, PathClaim]


class _Path(Struct):
    """A path looked at once: its protocol, or the protocols that have it."""

    segments: Segments
    fixed: RouteMatch | None = None  # by mount or exclusive path
    is_shared: bool = False
    matches: dict[str, RouteMatch] = {}  # by protocol, made when first asked for
    owners: dict[str, _Owners] = {}  # by method, made when first asked for


class Router:
    """Finds which protocol a request is for; a path is taken apart once and remembered."""

    def __init__(
        self,
        protocols: Sequence[Protocol],
        *,
        api_paths: Iterable[str] = (),
        hosts: Mapping[str, str] | None = None,
        protocol_of: Callable[[str], str | None] = lambda secret: None,
    ) -> None:
        """`api_paths` are patterns of the management API; `hosts` maps further host names to protocols' names.

        Of protocols that claim the same, the later one has it. `protocol_of(secret)` tells which protocol a known
        credential is for, "" for that of the API.
        """
        self.protocols = tuple(protocols)
        self._protocols = {protocol.name: protocol for protocol in protocols}
        self._default = next((protocol for protocol in protocols if protocol.has_api), protocols[0])
        self._api_patterns = [_segments(path.encode(), exact=False) for path in api_paths]
        # What the API answers outside of the disputed paths is its own, whatever the host.
        self._api_nouns = {noun for pattern in self._api_patterns for noun in pattern[1:2]} - {_SHARED}
        self._absent = {segment for protocol in protocols for segment in protocol.claims.absent}
        vendors = {name: protocol.name for protocol in protocols for name in protocol.hosts}
        self._hosts = {**vendors, **{_host_name(name): protocol for name, protocol in (hosts or {}).items()}}
        self._protocol_of = protocol_of
        claiming = list(reversed(protocols))
        self._key_headers = tuple((each.claims.key_header, each.name) for each in claiming if each.claims.key_header)
        self._bearers = [each.name for each in claiming if each.claims.bearer]
        self._client_headers = frozenset(name for each in claiming for name in each.claims.headers)
        self._instead = [each.claims.instead for each in claiming if each.claims.instead]
        self._paths: dict[bytes, _Path] = {}
        self._seen_hosts: dict[bytes, str | None] = {}

    def match(self, method: str, raw_path: bytes, headers: Headers) -> RouteMatch:
        """Return the protocol and the handlers of a request, by its path as sent (without the query) and its headers.

        Raises what `protocol_of` raises where a credential cannot be looked up.
        """
        path = self._paths.get(raw_path)
        if path is None:
            path = self._look_at(raw_path)
            _remember(self._paths, raw_path, path)
        if path.fixed is not None:
            return path.fixed
        host = headers.get(b"host", b"")
        name = self._seen_hosts.get(host, _UNSEEN)
        if name == _UNSEEN:
            name = self._look_for_host(host)
        if name is None:
            name = self._claimant(path, method, headers) if path.is_shared else self._default.name
        found = path.matches.get(name)
        return found if found is not None else self._matched(path, self._protocols.get(name, self._default))

    def unclaimed(self, raw_path: bytes) -> RouteMatch:
        """Return what is known of a path where that cannot be found out: it is for the protocol of the API, without
        routes.
        """
        return RouteMatch(self._default, "/".join(_segments(raw_path, exact=True)), {}, {})

    def _look_at(self, raw_path: bytes) -> _Path:
        segments = _without_leading_slashes(_segments(raw_path, exact=True))
        for protocol in self._protocols.values():
            mount = _segments(protocol.mount.encode(), exact=True)
            if segments[: len(mount)] == mount:
                inner = _without_leading_slashes(("", *segments[len(mount) :]))
                return _Path(inner, fixed=_match(protocol, inner))
        for protocol in self._protocols.values():
            for prefix in protocol.own_paths:
                own = _segments(prefix.encode(), exact=True)
                if segments[: len(own)] == own:
                    return _Path(segments, fixed=_match(protocol, segments))
        shared = segments[1] == _SHARED
        if segments[1] in self._api_nouns or (shared and not self._absent.isdisjoint(segments)):
            return _Path(segments, fixed=RouteMatch(self._default, "/".join(segments), {}, {}))
        return _Path(segments, is_shared=shared)

    def _owners(self, path: _Path, method: str) -> _Owners:
        found = path.owners.get(method)
        if found is None:
            found = self._look_for_owners(_trimmed(path.segments), method)
            if method in _METHODS:
                path.owners = {**path.owners, method: found}
        return found

    def _look_for_owners(self, segments: Segments, method: str) -> _Owners:
        is_api = any(_fit(pattern, segments) is not None for pattern in self._api_patterns)
        standings: dict[str, PathClaim] = {}
        owner = ""
        for protocol in reversed(self._protocols.values()):
            standing = protocol.claims.paths(method, segments[2:])
            if is_api and protocol is self._default:
                standing = PathClaim.OWN
            if standing is PathClaim.OWN:
                standing = PathClaim.NONE if owner else standing
                owner = owner or protocol.name
            standings[protocol.name] = standing
        first = max(standings, key=standings.__getitem__) if any(standings.values()) else self._default.name
        bearer = max(self._bearers, key=standings.__getitem__) if self._bearers else first
        return _Owners(first, bearer, self._protocols[first].claims.prefixes, standings)

    def _matched(self, path: _Path, protocol: Protocol) -> RouteMatch:
        found = _match(protocol, path.segments)
        path.matches = {**path.matches, protocol.name: found}
        return found

    def _look_for_host(self, sent: bytes) -> str | None:
        """Return the protocol whose host was asked, None where the host is nobody's."""
        name = _host_name(sent.decode("latin-1"))
        found = self._hosts.get(name)
        while found is None and "." in name:
            name = name.partition(".")[2]
            found = self._hosts.get("*." + name)
        _remember(self._seen_hosts, sent, found)
        return found

    def _claimant(self, path: _Path, method: str, headers: Headers) -> str:
        """Return the protocol of a path under /v1: the first whose credential is known, else the first."""
        owners = path.owners.get(method) or self._owners(path, method)
        authorization = headers.get(_AUTHORIZATION)
        claims: list[tuple[str, bytes]] = []  # protocol, and its credential
        for header, name in self._key_headers:
            secret = headers.get(header)
            if secret is not None:
                claims.append((name, secret))
        if authorization is not None:
            if not claims and authorization.startswith(owners.prefixes):
                return owners.first  # nobody else can be meant: without a look-up
            claims.append(self._bearers_claim(owners, _secret(authorization)))
        elif not self._client_headers.isdisjoint(headers):
            secret = next((headers[name] for name in self._instead if name in headers), b"")
            claims.append(self._bearers_claim(owners, secret))
        if not claims:
            return owners.first
        if len(claims) > 1:
            for name, secret in claims:
                if self._owner(secret) == name:
                    return name
        return claims[0][0]

    def _bearers_claim(self, owners: _Owners, secret: bytes) -> tuple[str, bytes]:
        """Return the protocol that a credential in a header of several is for, and the credential where it may decide.

        It may not where the protocol has no such path: its answer to its own credential says so, but other credentials
        go before it.
        """
        owner = self._owner(secret)
        if owner not in self._bearers:
            return owners.bearer, secret
        return owner, secret if owners.standings[owner] else b""

    def _owner(self, secret: bytes) -> str | None:
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


def _remember(memory: dict[bytes, T], key: bytes, value: T) -> None:
    if len(key) > CACHED_PATH_BYTES:
        return
    if len(memory) >= CACHED_PATHS:
        memory.clear()
    memory[key] = value


def _match(protocol: Protocol, segments: Segments) -> RouteMatch:
    """Return the handlers by method of the first pattern that fits, and the values of its named segments."""
    wanted = segments if protocol.exact_slashes else _trimmed(segments)
    params: dict[str, str] | None = None
    handlers: dict[str, Handler] = {}
    name = UNKNOWN_ROUTE
    for route in protocol.routes:
        values = _fit(_segments(route.path.encode(), exact=protocol.exact_slashes), wanted)
        if values is not None and (params is None or values == params):
            params = values
            name = name if handlers else route.path
            handlers.setdefault(route.method, route.handler)
    return RouteMatch(protocol, "/".join(segments), handlers, params or {}, name)


def _segments(raw_path: bytes, *, exact: bool) -> Segments:
    """Return a path's segments, percent-decoded after they are told apart, the first of them empty."""
    parts = raw_path.decode("utf-8", "replace").split("/")
    segments = tuple(unquote(part) if "%" in part else part for part in parts)
    return segments if exact else _trimmed(segments)


def _without_leading_slashes(segments: Segments) -> Segments:
    """With one slash in front, for a base URL that ends in a slash is common; always two segments or more."""
    first = next((index for index, segment in enumerate(segments) if segment), len(segments) - 1)
    return ("", *segments[first:])


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
