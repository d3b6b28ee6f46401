"""A server's application with protocols of the test's choice, in its process, asked as by HTTP."""

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from support.ingest import ROOT_TOKEN, Parts, open_service
from tailrace import api
from tailrace.access import Access
from tailrace.access.identities import IdentityProvider
from tailrace.api.concurrency_limiter import ConcurrencyLimiter
from tailrace.api.field_store import FieldStore
from tailrace.api.saved_queries import SavedQueryStore
from tailrace.api.services import Monitoring, ServerHealth
from tailrace.backup.running import Backups, BackupSources
from tailrace.config import load
from tailrace.console.application import Console
from tailrace.ingest.answer_hold import AnswerHold
from tailrace.lake import Lake
from tailrace.monitors import MonitorStore, NotDelivered, Notification, Notifier
from tailrace.protocols.http import Protocol
from tailrace.protocols.registry import PROTOCOLS
from tailrace.protocols.router import Router
from tailrace.query import Engine
from tailrace.server.app import ServerApplication
from tailrace.server.request_body import RequestBacklog
from tailrace.server.response_body import ResponseBacklog
from tailrace.server.settings import schema_of
from tailrace.storage.database import Database
from tailrace.storage.documents import DocumentStore
from tailrace.tail import TailLimits, Tails


class Serving(Struct, frozen=True):
    """What is served, and who asks."""

    parts: Parts
    client: httpx.AsyncClient  # with the owner's token


def services_of(
    access: Access, lake: Lake, engine: Engine, database: Database, threads: ThreadPoolExecutor, **more: Any
) -> api.Services:
    """Return what the API is built over, of these parts; `record` is one more that it needs."""

    async def health() -> ServerHealth:
        return ServerHealth()

    async def metrics() -> bytes:
        return b""

    return api.Services(
        access,
        lake,
        engine,
        threads,
        set(),
        health,
        metrics,
        lambda: None,
        documents=DocumentStore(database),
        fields=more.pop("fields", None) or FieldStore(database),
        saved_queries=SavedQueryStore(database),
        query_limiter=ConcurrencyLimiter(1, running=1, waiting=0),
        tails=Tails(TailLimits(), lambda limits: engine),
        monitoring=Monitoring(MonitorStore(database), lambda monitor_id: None, undeliverable),
        backups=Backups(BackupSources(lake, lake.names, database, lake.root.parent / "backups", dict)),
        **more,
    )


async def undeliverable(notifier: Notifier, notification: Notification) -> None:
    """Deliver nothing: there is no runner of monitors."""
    raise NotDelivered("nothing is delivered here")


@asynccontextmanager
async def serving(
    directory: Path,
    protocols: Sequence[Protocol] = PROTOCOLS,
    environ: Mapping[str, str] | None = None,
    *,
    database_url: str = "",
    console: Console | None = None,
    provider: IdentityProvider | None = None,
) -> AsyncIterator[Serving]:
    """Serve some protocols on an empty directory, with the settings of an environment.

    A console, and a provider of single sign-on, are there where given.
    """
    settings, _ = load(None, {}, environ or {}, schema_of(protocols))

    async with open_service(directory, protocols, database_url=database_url) as parts:
        with ThreadPoolExecutor(1) as threads:
            services = services_of(
                parts.access,
                parts.lake,
                parts.engine,
                parts.database,
                threads,
                record=parts.service.record,
                fields=parts.fields,
                protocols=protocols,
                console=settings.console,
                provider=provider,
            )
            application = ServerApplication(
                service=parts.service,
                options=settings.protocols,
                metrics=parts.metrics,
                api=api.build(services),
                router=Router(
                    protocols,
                    api_paths=[route.path for route in api.ROUTES],
                    protocol_of=parts.access.protocol_of,
                ),
                request_backlog=RequestBacklog(settings.request_body),
                response_backlog=ResponseBacklog(settings.response_body),
                hold=AnswerHold(parts.lake, max_wait_s=settings.lake.uncommitted_wait_s, is_stopping=lambda: False),
                console=console,
            )
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(application),
                base_url="http://127.0.0.1",
                headers={"Authorization": f"Bearer {ROOT_TOKEN}"},
            ) as client:
                yield Serving(parts, client)
