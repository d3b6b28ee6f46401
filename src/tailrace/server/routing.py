"""The router of a server's requests."""

from tailrace import api
from tailrace.access import Access
from tailrace.protocols.registry import PROTOCOLS
from tailrace.protocols.router import Router
from tailrace.server.settings import Settings


def router_of(settings: Settings, access: Access) -> Router:
    """Return a router of all protocols, and of the API's paths, by the hosts of the settings and known credentials."""
    return Router(
        PROTOCOLS,
        api_paths=[route.path for route in api.ROUTES],
        hosts=_hosts(settings),
        protocol_of=access.protocol_of,
    )


def _hosts(settings: Settings) -> dict[str, str]:
    """Return the protocol of each host name in the settings."""
    return {host: name for name, section in settings.protocols.items() for host in getattr(section, "hosts", ())}
