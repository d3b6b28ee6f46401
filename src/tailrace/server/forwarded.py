"""The client's address, scheme and host of a request that came through trusted proxies."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tailrace.events.outcome import FORWARDED_HOST
from tailrace.server.asgi import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
# A pair of the header Forwarded (RFC 7239, section 4), or the separator of two pairs or two elements.
_PAIR = re.compile(r'\s*(?:([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*)?([;,]|$)')
_QUOTED = re.compile(r"\\(.)")


class Hop(Struct, frozen=True):
    """What one proxy says about the sender of the request; members are empty where it says nothing."""

    address: str = ""
    scheme: str = ""
    host: str = ""


class Proxies:
    """The proxies that are trusted to say whom a request is from."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """`trusted` are addresses and networks, such as 127.0.0.1 and 10.0.0.0/8."""
        self._networks: list[Network] = [ipaddress.ip_network(each, strict=False) for each in trusted]

    def apply(self, scope: Scope) -> None:
        """Set the client's address, scheme and host in the scope, if a trusted proxy says them.

        The client is the right-most address that is not a trusted proxy's: those to its left may be forged by it.
        `Forwarded` is read only without `X-Forwarded-For`: most proxies write the latter, and may pass on the other
        header as the client sent it.
        """
        if not self._networks:
            return
        peer = _address(scope["client"][0])
        if peer is None or not self._is_trusted(peer):
            return
        hops = _hops(scope["headers"])
        client, forwarded = peer, Hop()
        for hop in reversed(hops):
            # Each proxy says what it saw itself, so the scheme and host of a proxy count only until a trusted one
            # before it says more.
            forwarded = Hop(hop.address, hop.scheme or forwarded.scheme, hop.host or forwarded.host)
            address = _address(hop.address)
            if address is None:  # "unknown", or not an address: the client is the last one known
                break
            client = address
            if not self._is_trusted(address):
                break
        scope["client"] = (str(client), 0)
        if forwarded.scheme in ("http", "https"):
            scope["scheme"] = forwarded.scheme
        if _HOST.fullmatch(forwarded.host):
            scope[FORWARDED_HOST] = forwarded.host

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _hops(headers: Sequence[tuple[bytes, bytes]]) -> list[Hop]:
    """Return the hops of a request, the farthest from the server first."""
    addresses = _header_list(headers, b"x-forwarded-for")
    if not addresses:
        return _forwarded(", ".join(value.decode("latin-1") for name, value in headers if name == b"forwarded"))
    schemes = _one_for_each_hop(_header_list(headers, b"x-forwarded-proto"), len(addresses))
    hosts = _one_for_each_hop(_header_list(headers, b"x-forwarded-host"), len(addresses))
    return [Hop(address, scheme.lower(), host) for address, scheme, host in zip(addresses, schemes, hosts, strict=True)]


def _header_list(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return [part.strip() for part in ",".join(values).split(",")] if values else []


def _one_for_each_hop(values: list[str], count: int) -> list[str]:
    """Return one value for each hop if there are as many, else the last proxy's value for all hops."""
    return values if len(values) == count else [values[-1] if values else ""] * count


def _forwarded(text: str) -> list[Hop]:
    """Return the elements of the header Forwarded; if one is malformed, only those after it."""
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PAIR.match(text, at)
        if match is None:
            hops.clear()
            pairs.clear()
            at = text.find(",", at)
            if at < 0:
                return []
            at += 1
            continue
        name, quoted, plain, separator = match.groups()
        if name:
            pairs[name.lower()] = _QUOTED.sub(r"\1", quoted) if quoted is not None else plain
        if separator != ";":
            hops.append(Hop(pairs.get("for", ""), pairs.get("proto", "").lower(), pairs.get("host", "")))
            pairs = {}
        at = match.end()
    return hops


def _address(text: str) -> Address | None:
    """Return an address without its port; IPv6 addresses with a port, and all in Forwarded, are in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # A zone has a meaning on the proxy's machine only, and may be any text.
        return address.ipv4_mapped or (address if address.scope_id is None else None)
    return address
