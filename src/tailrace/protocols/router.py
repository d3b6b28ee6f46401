"""Request routing: the protocol of a request, by mount prefix, exclusive path, host, credential, or look of the path.

docs/routing.md shows the order to users.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar
from urllib.parse import unquote

from msgspec import Struct

from tailrace.events.outcome import UNKNOWN_ROUTE
from tailrace.protocols import axiom
from tailrace.protocols.http import Handler, Headers, Protocol

CACHED_PATHS: Final = 4096  # paths remembered with their match, and hosts
CACHED_PATH_BYTES: Final = 1024  # longer ones are not remembered, so that what is remembered stays small

_SHARED: Final = "v1"  # the first segment of the paths that protocols dispute
_MOESIF_KEY: Final = b"x-moesif-application-id"
_BASELIME_KEY: Final = b"x-api-key"
_AUTHORIZATION: Final = b"authorization"
_AXIOM_TOKENS: Final = (b"Bearer xaat-", b"Bearer xapt-", b"Bearer xait-")
_FIREHOSE_KEY: Final = b"x-amz-firehose-access-key"
_AXIOM_HEADERS: Final = (b"x-axiom-org-id", b"x-axiom-dataset", b"x-axiom-metrics-dataset", _FIREHOSE_KEY)
_AXIOM_NOUNS: Final = frozenset({"datasets", "ingest", "query"})  # with a segment behind them, Axiom's
_MOESIF_NOUNS: Final = frozenset({"events", "actions", "users", "companies", "subscriptions"})
_MOESIF_GETS: Final = frozenset({"config", "rules"})
_MANAGEMENT: Final = "~"  # a segment of Moesif's management API, never the name of a dataset

Segments = tuple[str, ...]
T = TypeVar("T")


class Match(Struct, frozen=True):
    """What is known of a path: its protocol, and the handler of each method where the protocol has such a path."""

    protocol: Protocol
    path: str  # percent-decoded, without the mount prefix
    handlers: dict[str, Handler]  # by method; empty when the path is not one of the protocol's
    params: dict[str, str]
    route: str = UNKNOWN_ROUTE  # with the names of its parameters in braces


class _Path(Struct):
    """A path looked at once: whose it is, or who disputes it."""

    segments: Segments
    fixed: Match | None = None  # by mount or exclusive path
    matches: dict[str, Match] = {}  # by protocol, made when first asked for
    is_shared: bool = False
    is_axiom: bool = False  # a route of Axiom's, for ingest or of the API, that Moesif does not have
    is_axiom_too: bool = False  # one that Moesif has too: it is Moesif's to be sent to, Axiom's to be read
    is_moesif: bool = False  # one of Moesif's routes for events and entities
    is_moesif_get: bool = False  # one of Moesif's routes that are read

    def is_axiom_for(self, method: str) -> bool:
        return self.is_axiom or (self.is_axiom_too and method != "POST")


class Router:
    """Finds which protocol a request is for; a path is taken apart once and remembered."""

    def __init__(
        self,
        protocols: tuple[Protocol, ...],
        *,
        api_paths: Iterable[str] = (),
        hosts: Mapping[str, str] | None = None,
        protocol_of: Callable[[str], str | None] = lambda secret: None,
    ) -> None:
        """`api_paths` are patterns of the management API; `hosts` maps further host names to protocols' names.

        `protocol_of(secret)` tells whose a known credential is.
        """
        self._protocols = {protocol.name: protocol for protocol in protocols}
        self._default = protocols[0]
        self._api_patterns = [_segments(path.encode(), exact=False) for path in api_paths]
        # What the API answers outside of the disputed paths is its own, whatever the host.
        self._api_nouns = {noun for pattern in self._api_patterns for noun in pattern[1:2]} - {_SHARED}
        vendors = {name: protocol.name for protocol in protocols for name in protocol.hosts}
        self._hosts = {**vendors, **{_host_name(name): protocol for name, protocol in (hosts or {}).items()}}
        self._protocol_of = protocol_of
        self._paths: dict[bytes, _Path] = {}
        self._seen_hosts: dict[bytes, str | None] = {}

    def match(self, method: str, raw_path: bytes, headers: Headers) -> Match:
        """The protocol and the handlers of a request, by its path as sent (without the query) and its headers."""
        path = self._paths.get(raw_path)
        if path is None:
            path = self._look_at(raw_path)
            _remember(self._paths, raw_path, path)
        if path.fixed is not None:
            return path.fixed
        name = self._host(headers)
        if name is None:
            name = self._claimant(path, method, headers) if path.is_shared else self._default.name
        found = path.matches.get(name)
        return found if found is not None else self._matched(path, self._protocols.get(name, self._default))

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
        if segments[1] in self._api_nouns or (shared and _MANAGEMENT in segments):
            return _Path(segments, fixed=Match(self._default, "/".join(segments), {}, {}))
        rest = _trimmed(segments)[2:]
        is_axiom = self._is_axiom(segments)
        is_moesif = not _MOESIF_NOUNS.isdisjoint(rest[:1]) and rest[1:] in {(), ("batch",)}
        return _Path(
            segments,
            is_shared=shared,
            is_axiom=is_axiom and not is_moesif,
            is_axiom_too=is_axiom and is_moesif and len(rest) == 1,
            is_moesif=is_moesif,
            is_moesif_get=len(rest) == 1 and rest[0] in _MOESIF_GETS,
        )

    def _is_axiom(self, segments: Segments) -> bool:
        trimmed = _trimmed(segments)
        return (
            (len(trimmed) > 3 and trimmed[2] in _AXIOM_NOUNS)
            or any(_fit(pattern, trimmed) is not None for pattern in self._api_patterns)
            or bool(_match(axiom.PROTOCOL, segments).handlers)
        )

    def _matched(self, path: _Path, protocol: Protocol) -> Match:
        found = _match(protocol, path.segments)
        path.matches = {**path.matches, protocol.name: found}
        return found

    def _host(self, headers: Headers) -> str | None:
        """The protocol whose host was asked, None where the host is nobody's."""
        sent = headers.get(b"host", b"")
        try:
            return self._seen_hosts[sent]
        except KeyError:
            pass
        name = _host_name(sent.decode("latin-1"))
        found = self._hosts.get(name)
        while found is None and "." in name:
            name = name.partition(".")[2]
            found = self._hosts.get("*." + name)
        _remember(self._seen_hosts, sent, found)
        return found

    def _claimant(self, path: _Path, method: str, headers: Headers) -> str:
        """The protocol of a path under /v1 that several have: the first whose credential is known, else the first."""
        authorization = headers.get(_AUTHORIZATION)
        moesif = headers.get(_MOESIF_KEY)
        baselime = headers.get(_BASELIME_KEY)
        if (
            path.is_axiom
            and authorization is not None
            and moesif is None
            and baselime is None
            and authorization.startswith(_AXIOM_TOKENS)
        ):
            return "axiom"  # nobody else can be meant: without a look-up
        claims: list[tuple[str, bytes]] = []  # protocol, and its credential
        if moesif is not None:
            claims.append(("moesif", moesif))
        if baselime is not None:
            claims.append(("baselime", baselime))
        if authorization is not None:
            claims.append(self._claim_of(path, method, _secret(authorization)))
        elif any(name in headers for name in _AXIOM_HEADERS):
            claims.append(self._claim_of(path, method, headers.get(_FIREHOSE_KEY, b"")))
        if not claims:
            return _usual(path, method)
        if len(claims) > 1:
            for name, secret in claims:
                if self._owner(secret) == name:
                    return name
        return claims[0][0]

    def _claim_of(self, path: _Path, method: str, secret: bytes) -> tuple[str, bytes]:
        """Which protocol a request is for whose credential is in a header that several protocols use."""
        owner = self._owner(secret)
        if owner == "baselime":
            return owner, secret
        if path.is_axiom_for(method):
            return "axiom", secret
        # Axiom has no such path: its answer to its own token says so, but other credentials go before it.
        return ("axiom" if owner == "axiom" else "baselime"), b""

    def _owner(self, secret: bytes) -> str | None:
        return self._protocol_of(secret.decode("latin-1")) if secret else None


def _usual(path: _Path, method: str) -> str:
    """The protocol of a request without a credential."""
    if path.is_axiom_for(method):
        return "axiom"
    if path.is_moesif or (path.is_moesif_get and method in {"GET", "HEAD"}):
        return "moesif"
    return "baselime"


def _secret(authorization: bytes) -> bytes:
    """The credential of an Authorization header, with a scheme before it or without; of Basic the password."""
    scheme, _, secret = authorization.strip().partition(b" ")
    secret = secret.strip()
    if scheme.lower() == b"basic":
        try:
            return b64decode(secret, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return secret or scheme


def _host_name(host: str) -> str:
    """A host without its port and final dot, in lower case; an IPv6 address keeps its brackets."""
    name = host.strip().lower()
    name = name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]
    return name.removesuffix(".")


def _remember(memory: dict[bytes, T], key: bytes, value: T) -> None:
    if len(key) > CACHED_PATH_BYTES:
        return
    if len(memory) >= CACHED_PATHS:
        memory.clear()
    memory[key] = value


def _match(protocol: Protocol, segments: Segments) -> Match:
    """The handlers by method of the first pattern that fits, and the values of its named segments."""
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
    return Match(protocol, "/".join(segments), handlers, params or {}, name)


def _segments(raw_path: bytes, *, exact: bool) -> Segments:
    """A path's segments, percent-decoded after they are told apart, the first of them empty."""
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
