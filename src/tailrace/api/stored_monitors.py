"""Stored monitors with the grants that they run under: what the runner of monitors reads, and the queries it runs."""

from functools import partial

import msgspec
from msgspec import Struct
from starlette.requests import Request

from tailrace.access import Grant, require_own, require_query
from tailrace.api import notifiers
from tailrace.api.collection import Collection
from tailrace.api.field_store import FieldStore
from tailrace.api.services import Services
from tailrace.api.views import find_view
from tailrace.events import DatasetUnavailable
from tailrace.lake import DatasetStore
from tailrace.monitors import Monitor, MonitorQuery, Notifier, ScheduledMonitor
from tailrace.query import AplRequest, AplResult, Engine, Interrupt, run_apl
from tailrace.query.compile.notes import message_code
from tailrace.query.compile.program import UNAVAILABLE
from tailrace.storage.documents import Document, DocumentStore

COLLECTION = "monitors"


class StoredMonitor(Struct, frozen=True):
    """The body of a monitor's document, with the rights of its author that its query has, and no others."""

    monitor: Monitor
    unlimited: bool = False
    datasets: tuple[str, ...] = ()  # or "*" for every one but the audit trail
    audit_log: bool = False
    views: bool = False  # every one
    named_views: tuple[str, ...] = ()  # those that a role names


def stored_monitor(document: Document) -> StoredMonitor:
    """Return the monitor of a document."""
    return msgspec.convert(document.body, StoredMonitor)


async def monitor_document(request: Request, services: Services, grant: Grant) -> Document:
    """Return the document of the monitor in the path; raise NotFound."""
    return await Collection(COLLECTION, services, grant).get(request.path_params["id"])


class MonitorSources(Struct, frozen=True, eq=False):
    """The monitors, notifiers and queries that the runner works with, from the server's stores."""

    documents: DocumentStore
    fields: FieldStore
    lake: DatasetStore
    engine: Engine
    running: set[Interrupt]  # of the queries under way

    def monitors(self) -> list[ScheduledMonitor]:
        """Return the monitors of all organisations."""
        scheduled = []
        for organisation, document in self.documents.list_everywhere(COLLECTION):
            stored = stored_monitor(document)
            scheduled.append(
                ScheduledMonitor(
                    document.id, organisation, stored.monitor, self._reader(organisation, document, stored)
                )
            )
        return scheduled

    def _reader(self, organisation: str, document: Document, stored: StoredMonitor) -> Grant:
        return Grant(
            token_id=document.id,
            kind="personal" if stored.unlimited else "api",
            user_id=document.updated_by,
            organisation=organisation,
            datasets={name: {"query": ["read"]} for name in stored.datasets},
            org={
                **({"auditLog": ["read"]} if stored.audit_log else {}),
                **({"views": ["read"]} if stored.views else {}),
            },
            views={name: {"query": ["read"]} for name in stored.named_views},
            owner_of=self.lake.organisation,
        )

    def notifier(self, organisation: str, notifier_id: str) -> Notifier | None:
        """Return a notifier of an organisation, None where there is none."""
        return notifiers.find_notifier(self.documents, organisation, notifier_id)

    def run_query(self, query: MonitorQuery) -> AplResult:
        """Return the result, from what the monitor may read; raise TailraceError."""

        check = partial(require_query, query.reader)

        request = AplRequest(
            apl=query.apl,
            start_ns=query.start_ns,
            end_ns=query.end_ns,
            default_limit=query.limit,
            totals=False,
            virtual_fields=self.fields.expressions(),
            map_fields=self.fields.shown_map_fields(),
            view=partial(find_view, self.documents, query.reader),
            now_ns=query.end_ns,
        )
        interrupt = Interrupt()
        self.running.add(interrupt)
        try:
            result = run_apl(
                self.lake,
                self.engine,
                request,
                check=check,
                check_organisation=partial(require_own, query.reader),
                interrupt=interrupt,
            )
        finally:
            self.running.discard(interrupt)
        if result.status.is_partial:  # nothing triggers, or resolves, by a part of what it looks at
            code = message_code(UNAVAILABLE)
            reasons = [message.msg for message in result.status.messages if message.code == code]
            raise DatasetUnavailable("; ".join(reasons))
        return result
