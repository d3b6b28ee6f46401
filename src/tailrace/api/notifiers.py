"""Notifiers over HTTP: where monitors send their notifications, and how."""

import time
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.access.tokens import rfc3339
from tailrace.api.collection import Collection, new_id
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import NotFound
from tailrace.monitors import DeliveryFailed, NotDelivered, Notification, Notifier, read_notifier
from tailrace.storage.documents import Document, DocumentStore

COLLECTION = "notifiers"


class NotifierBody(Struct, frozen=True, rename="camel"):
    """What makes a notifier. Names may have any letter case; null is for what is not set."""

    name: str
    properties: dict[str, dict[str, Any] | None]  # one member, named for its kind
    disabled_until: str | None = None  # RFC 3339


class NotifierAnswer(Struct, frozen=True, rename="camel"):
    """A notifier as Axiom's clients have it."""

    id: str
    name: str
    properties: dict[str, dict[str, Any]]  # one member, named for its kind
    created_at: str  # RFC 3339, UTC
    created_by: str
    updated_at: str  # RFC 3339, UTC
    disabled_until: str | UnsetType = UNSET  # RFC 3339, UTC; left out where there is none


class TestDelivery(Struct, frozen=True):
    """What became of a test."""

    delivered: bool
    reason: str = ""  # why it was not


async def list_notifiers(request: Request, services: Services, grant: Grant) -> Response:
    """Return all of the organisation, oldest first."""
    documents = await Collection(COLLECTION, services, grant).all()
    return json_response([_notifier_answer(each) for each in documents])


async def create_notifier(request: Request, services: Services, grant: Grant) -> Response:
    """Create one."""
    notifier = read_notifier(await read_json(request, dict[str, Any]))
    document = await Collection(COLLECTION, services, grant).add(msgspec.to_builtins(notifier), new_id("notify_"))
    return json_response(_notifier_answer(document))


async def get_notifier(request: Request, services: Services, grant: Grant) -> Response:
    """Return one."""
    document_id = request.path_params["id"]
    return json_response(_notifier_answer(await Collection(COLLECTION, services, grant).get(document_id)))


async def update_notifier(request: Request, services: Services, grant: Grant) -> Response:
    """Replace one."""
    document_id = request.path_params["id"]
    notifier = read_notifier(await read_json(request, dict[str, Any]))
    document = await Collection(COLLECTION, services, grant).replace(
        document_id, lambda _: msgspec.to_builtins(notifier)
    )
    return json_response(_notifier_answer(document))


async def delete_notifier(request: Request, services: Services, grant: Grant) -> Response:
    """Delete one. Monitors that name it stay, and their history says that it is missing."""
    await Collection(COLLECTION, services, grant).delete(request.path_params["id"])
    return no_content()


async def test_notifier(request: Request, services: Services, grant: Grant) -> Response:
    """Deliver a notification that says it is a test, in one attempt, and tell what became of it."""
    document = await Collection(COLLECTION, services, grant).get(request.path_params["id"])
    now_ns = time.time_ns()
    notification = Notification(
        monitor_id="test",
        title="Test",
        description="",
        action="Open",
        body="This is a test of the notifier. Nothing is wrong.",
        value=None,
        event=None,
        start_ns=now_ns,
        end_ns=now_ns,
        at_ns=now_ns,
        check_id="test",
    )
    try:
        await services.monitoring.deliver(msgspec.convert(document.body, Notifier), notification)
    except NotDelivered as error:
        return json_response(TestDelivery(False, str(error)))
    except DeliveryFailed as error:
        return json_response(TestDelivery(False, error.reason))
    return json_response(TestDelivery(True))


def find_notifier(documents: DocumentStore, organisation: str, notifier_id: str) -> Notifier | None:
    """Return a notifier of an organisation, None where there is none."""
    try:
        document = documents.get(organisation, COLLECTION, notifier_id)
    except NotFound:
        return None
    return msgspec.convert(document.body, Notifier)


def rfc3339_or_none(moment: datetime | None) -> str | None:
    """Return a time as text, None for None."""
    return None if moment is None else rfc3339(moment)


def _notifier_answer(document: Document) -> NotifierAnswer:
    notifier = msgspec.convert(document.body, Notifier)
    return NotifierAnswer(
        document.id,
        notifier.name,
        {notifier.kind: notifier.properties},
        document.created_at,
        document.created_by,
        document.updated_at,
        rfc3339_or_none(notifier.disabled_until) or UNSET,
    )


_EXAMPLE = {"name": "Hook", "properties": {"webhook": {"url": "https://example.com/alerts"}}}

ROUTES = (
    ApiRoute("GET", "/v2/notifiers", list_notifiers, Permission("notifiers", "read"), answer=list[NotifierAnswer]),
    ApiRoute(
        "POST",
        "/v2/notifiers",
        create_notifier,
        Permission("notifiers", "create"),
        audit=AuditAction("createNotifier", "notifier"),
        body=NotifierBody,
        example=_EXAMPLE,
        answer=NotifierAnswer,
    ),
    ApiRoute("GET", "/v2/notifiers/{id}", get_notifier, Permission("notifiers", "read"), answer=NotifierAnswer),
    ApiRoute(
        "PUT",
        "/v2/notifiers/{id}",
        update_notifier,
        Permission("notifiers", "update"),
        audit=AuditAction("updateNotifier", "notifier"),
        body=NotifierBody,
        example=_EXAMPLE,
        answer=NotifierAnswer,
    ),
    ApiRoute(
        "DELETE",
        "/v2/notifiers/{id}",
        delete_notifier,
        Permission("notifiers", "delete"),
        audit=AuditAction("deleteNotifier", "notifier"),
        answer=None,
    ),
    ApiRoute(
        "POST",
        "/tailrace/v1/notifiers/{id}/test",
        test_notifier,
        Permission("notifiers", "update"),
        audit=AuditAction("testNotifier", "notifier"),
        answer=TestDelivery,
    ),
)
