"""Renewing the certificate of a running node, for its Arrow Flight server and what it asks others with."""

import asyncio
import logging

from tailrace.fleet.flight.credentials import Credentials
from tailrace.server.fleet.parts import NodeServer

logger = logging.getLogger(__name__)


async def renew_certificate(node: NodeServer, is_asked: bool) -> None:
    """Use the certificate for other nodes, and the issuers, in the files if these have changed; raise ConfigError."""
    if node.certificates is None:
        return
    found = await asyncio.to_thread(node.certificates.changed, is_asked=is_asked)
    if found is None:
        return
    credentials, stores = Credentials(node.settings.fleet.fleet_secret, found), node.stores
    stores.remote.renew(credentials)
    node.forwarder.renew(found.issuers)
    node.metrics.fleet_certificate_not_after_s = found.not_after_s
    if stores.own is not None:
        await asyncio.to_thread(stores.own.server.renew, credentials)
    logger.info(
        "new connections with other nodes have the certificate in %s", node.settings.fleet.fleet_tls_certificate
    )
