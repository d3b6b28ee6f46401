"""Running a node: it joins the fleet, answers, and hands over what it has before it ends."""

import asyncio
import gc
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tailrace.fleet.membership import BEATS
from tailrace.fleet.nodes import NodeRole
from tailrace.processes import Spawner
from tailrace.query import ReferenceData
from tailrace.server.banner import print_banner, say
from tailrace.server.data_directory import remove_address, write_address
from tailrace.server.fleet.build import build_node
from tailrace.server.fleet.parts import NodeServer
from tailrace.server.fleet.renewal import renew_certificate
from tailrace.server.fleet.stores import close_node_stores
from tailrace.server.grpc_listeners import GrpcListeners
from tailrace.server.metrics import Metrics
from tailrace.server.reloading import Reloader
from tailrace.server.settings import Settings
from tailrace.server.streams.sockets import DoorSocket
from tailrace.server.tls import Certificate

EXAMPLE_DATASET = "demo"
LOOK_S = 0.25  # more than nodes need to look at the fleet
HAND_OVER_S = 60.0  # in which what the node has is committed and another's
HEARD_S = 10.0  # in which all lake nodes are heard at the start

logger = logging.getLogger(__name__)


async def serve_node(
    settings: Settings,
    data: Path,
    reference_data: ReferenceData,
    spawner: Spawner | None,
    listener: socket.socket,
    grpc: GrpcListeners,
    *,
    stopping: asyncio.Event,
    metrics: Metrics,
    max_open_files: int,
    doors: Sequence[DoorSocket],
    certificate: Certificate | None,
    reloader: Callable[..., Reloader],
) -> None:
    """Run a node until it is to stop, or another process has its name; see `tailrace.server.build.build`.

    `reloader` makes what reloads its settings and its certificates.

    Return once everything is on disk or in stores, be there requests that were not answered.
    """
    node = build_node(
        settings,
        data,
        reference_data,
        spawner,
        listener,
        stopping=stopping,
        metrics=metrics,
        max_open_files=max_open_files,
        doors=doors,
        certificate=certificate,
    )
    write_address(data, node.url, [*grpc.shown, *node.streams.shown])
    serving = asyncio.create_task(node.http.serve())
    watching = asyncio.create_task(_watch(node, stopping))
    reloading = asyncio.create_task(reloader(node, renewals=[partial(renew_certificate, node)]).run())
    await _run(node, serving, grpc, stopping)
    stopping.set()
    watching.cancel()
    reloading.cancel()
    await _stop(node, serving, grpc)
    remove_address(data)


async def _run(node: NodeServer, serving: asyncio.Task[None], grpc: GrpcListeners, stopping: asyncio.Event) -> None:
    """Start a node that listens already, and return once it is to stop or has failed."""
    signalled = asyncio.create_task(stopping.wait())
    starting = asyncio.create_task(_start(node))
    await asyncio.wait({starting, signalled, serving}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done() and not stopping.is_set():
        starting.result()
        await grpc.start(node.gate)
        await node.streams.start()
        gc.collect()
        gc.freeze()
        print_banner(node.url, node.stores.owner_token, EXAMPLE_DATASET, [*grpc.shown, *node.streams.shown], console="")
        await asyncio.wait({signalled, serving}, return_when=asyncio.FIRST_COMPLETED)


async def _start(node: NodeServer) -> None:
    """Join the fleet, and take what is this node's."""
    stores = node.stores
    await asyncio.to_thread(stores.membership.start)
    if stores.membership.role is NodeRole.LAKE:
        stores.membership.is_ready = True
        await asyncio.to_thread(stores.membership.beat)
    if not await asyncio.to_thread(stores.remote.start, HEARD_S):
        logger.warning("not all lake nodes answer yet: what datasets they have is not known")
    stores.cleaning.start()
    node.service.open()
    node.application.is_open = True
    stores.membership.is_ready = True
    await asyncio.to_thread(stores.membership.beat)
    logger.info("node %s, role %s", stores.membership.name, stores.membership.role)


async def _watch(node: NodeServer, stopping: asyncio.Event) -> None:
    """Stop a node whose name another process has."""
    await asyncio.to_thread(node.stores.membership.wait_for_end)
    if node.stores.membership.is_replaced:
        stopping.set()


async def _stop(node: NodeServer, serving: asyncio.Task[None], grpc: GrpcListeners) -> None:
    """Hand over, answer the requests in flight, close everything."""
    say("Stopping: handing over to other nodes, answering what is in flight")
    await _hand_over(node)
    queries, grace_s = node.queries, node.settings.server.shutdown_grace_s
    queries.tails.close()
    node.http.stop()
    (_, unanswered), *_ = await asyncio.gather(
        asyncio.wait({serving}, timeout=grace_s), grpc.stop(grace_s), node.streams.stop(grace_s)
    )
    node.service.close()
    await node.leadership.stop()
    for interrupt in list(queries.running):
        interrupt.stop("the server is shutting down")
    queries.threads.shutdown(wait=False, cancel_futures=True)
    queries.lookups.close()
    await node.forwarder.close()
    await asyncio.to_thread(close_node_stores, node.stores)
    say("Stopped")
    if unanswered:
        logger.warning("requests were still in flight after %g s (shutdown_grace_s)", grace_s)
        return
    serving.result()


async def _hand_over(node: NodeServer) -> None:
    """Have other nodes take over, and go on answering until none sends anything more here."""
    membership, fleet = node.stores.membership, node.settings.fleet
    draining = asyncio.create_task(asyncio.sleep(fleet.drain_s))
    await asyncio.to_thread(membership.hand_over)
    if _has_successor(node):
        await asyncio.to_thread(membership.wait_for_handover, HAND_OVER_S)
    if any(other.name != membership.name for other in membership.fleet.nodes.values()):
        # Each looks at the fleet once in so long, and sends what is on its way meanwhile.
        await asyncio.sleep(fleet.lease_s / BEATS + LOOK_S)
    await draining


def _has_successor(node: NodeServer) -> bool:
    membership = node.stores.membership
    return any(other.name != membership.name for other in membership.fleet.ready(NodeRole.LAKE))
