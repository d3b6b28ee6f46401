"""Addresses of the hosts that notifications go to: which a name has, and which of them are of the open Internet."""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name."""

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.IPv6Network("64:ff9b:1::/48")


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open Internet, and so is the IPv4 address that an IPv6 one stands for."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        if ip in _NAT64_LOCAL or ip.is_site_local or ip.scope_id is not None:
            return False
        for inner in _embedded_ipv4(ip):
            if not is_public(str(inner)):
                return False
        if ip.ipv4_mapped is not None:
            return True  # judged by the address inside
    return ip.is_global and not (
        ip.is_multicast or ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_reserved or ip.is_unspecified
    )


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses that packets to an IPv6 one may end at."""
    addresses = [each for each in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if each is not None]
    packed = ip.packed
    # NAT64, and the IPv4-compatible form that was given up, but for :: and ::1.
    if ip in _NAT64 or (packed[:12] == bytes(12) and int(ip) > 1):
        addresses.append(ipaddress.IPv4Address(packed[12:]))
    return addresses


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses that the system has for a name; raise OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in infos))
