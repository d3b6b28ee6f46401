"""Who a request is from, and the address it was sent to, where it came through proxies that are trusted to tell."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from msgspec import Struct

from tailrace.events.outcome import FORWARDED_HOST
from tailrace.server.asgi import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
# A pair of the header Forwarded (RFC 7239, section 4), or the mark between two pairs or two elements.
_PAIR = re.compile(r'\s*(?:([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*)?([;,]|$)')
_QUOTED = re.compile(r"\\(.)")


class Hop(Struct, frozen=True):
    """What one proxy says of whom it took the request from; each is empty where it says nothing."""

    address: str = ""
    scheme: str = ""
    host: str = ""


class Proxies:
    """The addresses whose word is taken for whom a request is from."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        """`trusted` are addresses and networks, such as 127.0.0.1 and 10.0.0.0/8."""
        self._networks: list[Network] = [ipaddress.ip_network(each, strict=False) for each in trusted]

    def apply(self, scope: Scope) -> None:
        """Put the client's address and scheme into the scope, and the host it asked, if a trusted proxy tells.

        The client is the right-most address that is not a trusted proxy's: what stands before it, it may have made
        up. `Forwarded` is read where there is no `X-Forwarded-For`: a proxy that writes the one may pass the other on
        as the client sent it, and most write the latter.
        """
        if not self._networks:
            return
        peer = _address(scope["client"][0])
        if peer is None or not self._is_trusted(peer):
            return
        hops = _hops(scope["headers"])
        found, told = peer, Hop()
        for hop in reversed(hops):
            # Each proxy says what it saw itself, so the nearest one's scheme and host count only until one before it
            # that is trusted says more.
            told = Hop(hop.address, hop.scheme or told.scheme, hop.host or told.host)
            address = _address(hop.address)
            if address is None:  # "unknown", or nothing that is an address: no more is known than so far
                break
            found = address
            if not self._is_trusted(address):
                break
        scope["client"] = (str(found), 0)
        if told.scheme in ("http", "https"):
            scope["scheme"] = told.scheme
        if _HOST.fullmatch(told.host):
            scope[FORWARDED_HOST] = told.host

    def _is_trusted(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _hops(headers: Sequence[tuple[bytes, bytes]]) -> list[Hop]:
    """Return what the proxies say, the farthest from the server first."""
    addresses = _listed(headers, b"x-forwarded-for")
    if not addresses:
        return _forwarded(", ".join(value.decode("latin-1") for name, value in headers if name == b"forwarded"))
    schemes = _aligned(_listed(headers, b"x-forwarded-proto"), len(addresses))
    hosts = _aligned(_listed(headers, b"x-forwarded-host"), len(addresses))
    return [Hop(address, scheme.lower(), host) for address, scheme, host in zip(addresses, schemes, hosts, strict=True)]


def _listed(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> list[str]:
    values = [value.decode("latin-1") for key, value in headers if key == name]
    return [part.strip() for part in ",".join(values).split(",")] if values else []


def _aligned(values: list[str], count: int) -> list[str]:
    """One value a hop where there are as many; else the last proxy's value for all of them."""
    return values if len(values) == count else [values[-1] if values else ""] * count


def _forwarded(text: str) -> list[Hop]:
    """Return the elements of the header Forwarded; of one that is malformed those behind it."""
    hops: list[Hop] = []
    pairs: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _PAIR.match(text, at)
        if found is None:
            hops.clear()
            pairs.clear()
            at = text.find(",", at)
            if at < 0:
                return []
            at += 1
            continue
        name, quoted, plain, mark = found.groups()
        if name:
            pairs[name.lower()] = _QUOTED.sub(r"\1", quoted) if quoted is not None else plain
        if mark != ";":
            hops.append(Hop(pairs.get("for", ""), pairs.get("proto", "").lower(), pairs.get("host", "")))
            pairs = {}
        at = found.end()
    return hops


def _address(text: str) -> Address | None:
    """Return an address that may have a port; an IPv6 one with a port, and in Forwarded any, stands in brackets."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        # A zone means something on the proxy's machine only, and may be any text.
        return address.ipv4_mapped or (address if address.scope_id is None else None)
    return address
