"""Annotations over HTTP: marks on the charts of datasets, at a time or over one."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, require_own
from tailrace.access.tokens import rfc3339
from tailrace.api.collection import Collection, new_id
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.api.times import with_plus
from tailrace.events import BadRequest, checked_text
from tailrace.events.times import given_time
from tailrace.protocols.http import ParameterDoc
from tailrace.storage.documents import Document

COLLECTION = "annotations"
TYPE = re.compile(r"[a-z0-9-]+")
MAX_TITLE_LENGTH = 256  # characters
MAX_TEXT_LENGTH = 512  # characters of a description or a URL
MAX_TYPE_LENGTH = 128  # characters
MAX_DATASETS = 1_000


class NewAnnotation(Struct, rename="camel"):
    """An annotation to create; null counts as not given, and the time is then now."""

    type: str
    datasets: list[str]
    time: str | None = None  # RFC 3339
    end_time: str | None = None  # RFC 3339
    title: str | None = None
    description: str | None = None
    url: str | None = None


class AnnotationChange(Struct, rename="camel"):
    """A change of an annotation; null leaves a member as it is."""

    type: str | None = None
    datasets: list[str] | None = None
    time: str | None = None
    end_time: str | None = None
    title: str | None = None
    description: str | None = None
    url: str | None = None


class Annotation(Struct, frozen=True, rename="camel"):
    """An annotation as Axiom's clients have it."""

    id: str
    type: str
    datasets: list[str]
    time: str  # RFC 3339, UTC
    title: str
    description: str
    url: str
    end_time: str | UnsetType = UNSET  # RFC 3339, UTC


async def list_annotations(request: Request, services: Services, grant: Grant) -> Response:
    """Return the annotations of some datasets and of a time; of any where these are not given."""
    query = request.query_params
    datasets = {name for value in query.getlist("datasets") for name in value.split(",") if name}
    starts = query.getlist("start")
    ends = query.getlist("end") or starts[1:]  # Axiom's Go client sends the end as a second start
    start, end = _bound(starts[:1], "start"), _bound(ends[:1], "end")
    documents = await Collection(COLLECTION, services, grant).all()
    annotations = [_annotation(each) for each in documents]
    return json_response([each for each in annotations if _is_within(each, datasets, start, end)])


async def create_annotation(request: Request, services: Services, grant: Grant) -> Response:
    """Create an annotation. It stays when its datasets are dropped."""
    body = await read_json(request, NewAnnotation)
    now = datetime.now(UTC)
    content = _validated_body(
        Annotation(
            id="",
            type=body.type,
            datasets=body.datasets,
            time=rfc3339(_time(body.time, "time") or now),
            title=body.title or "",
            description=body.description or "",
            url=body.url or "",
            end_time=_end_time(body.end_time),
        ),
        grant,
    )
    document = await Collection(COLLECTION, services, grant).add(content, new_id("ann_"))
    return json_response(_annotation(document))


async def get_annotation(request: Request, services: Services, grant: Grant) -> Response:
    """Return an annotation."""
    return json_response(_annotation(await _document(request, services, grant)))


async def update_annotation(request: Request, services: Services, grant: Grant) -> Response:
    """Update an annotation: members that are not given stay."""
    body = await read_json(request, AnnotationChange)
    changes: dict[str, Any] = {
        name: value
        for name in ("type", "datasets", "title", "description", "url")
        if (value := getattr(body, name)) is not None
    }
    time = _time(body.time, "time")
    if time is not None:
        changes["time"] = rfc3339(time)
    if body.end_time is not None:
        changes["end_time"] = _end_time(body.end_time)

    def changed(before: Document) -> dict[str, Any]:
        return _validated_body(msgspec.structs.replace(_annotation(before), **changes), grant)

    document = await Collection(COLLECTION, services, grant).replace(request.path_params["id"], changed)
    return json_response(_annotation(document))


async def delete_annotation(request: Request, services: Services, grant: Grant) -> Response:
    """Delete an annotation."""
    await Collection(COLLECTION, services, grant).delete(request.path_params["id"])
    return no_content()


async def _document(request: Request, services: Services, grant: Grant) -> Document:
    return await Collection(COLLECTION, services, grant).get(request.path_params["id"])


def _validated_body(annotation: Annotation, grant: Grant) -> dict[str, Any]:
    """Return the body to store; raise BadRequest for a value that Axiom's API does not allow."""
    if not TYPE.fullmatch(annotation.type) or len(annotation.type) > MAX_TYPE_LENGTH:
        raise BadRequest(
            f"type {annotation.type[:MAX_TYPE_LENGTH]!r} is not valid: "
            f"1 to {MAX_TYPE_LENGTH} lower-case letters, digits and '-'"
        )
    if not annotation.datasets or len(annotation.datasets) > MAX_DATASETS:
        raise BadRequest(f"an annotation has 1 to {MAX_DATASETS} datasets")
    for dataset in annotation.datasets:
        require_own(grant, dataset)
    checked_text(annotation.title, "title", most=MAX_TITLE_LENGTH)
    checked_text(annotation.description, "description", most=MAX_TEXT_LENGTH, lines=True)
    checked_text(annotation.url, "url", most=MAX_TEXT_LENGTH)
    if annotation.end_time and _instant(annotation.end_time) < _instant(annotation.time):
        raise BadRequest(f"endTime {annotation.end_time} is before time {annotation.time}")
    content: dict[str, Any] = msgspec.to_builtins(annotation)
    del content["id"]
    return content


def _annotation(document: Document) -> Annotation:
    return msgspec.convert({"id": document.id, **document.body}, Annotation)


def _end_time(text: str | None) -> str | UnsetType:
    end = _time(text, "endTime")
    return UNSET if end is None else rfc3339(end)


def _time(text: str | None, name: str) -> datetime | None:
    """Return a time in UTC, None where it is missing or Go's zero time; raise BadRequest."""
    return given_time(text or "", name)


def _bound(values: Sequence[str], name: str) -> datetime | None:
    return given_time(with_plus(values[0]), name) if values else None


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _is_within(each: Annotation, datasets: set[str], start: datetime | None, end: datetime | None) -> bool:
    """Return whether an annotation is of one of the datasets, if any are given, and overlaps the time."""
    last = _instant(each.end_time or each.time)
    return (
        (not datasets or not datasets.isdisjoint(each.datasets))
        and (start is None or last >= start)
        and (end is None or _instant(each.time) <= end)
    )


DATASETS = ParameterDoc("datasets", "Names of datasets, divided by commas; any where it is not given.")
START = ParameterDoc("start", "RFC 3339: those that end at this time or later.")
END = ParameterDoc("end", "RFC 3339: those that begin at this time or earlier.")

ROUTES = (
    ApiRoute(
        "GET",
        "/v2/annotations",
        list_annotations,
        Permission("annotations", "read"),
        answer=list[Annotation],
        parameters=(DATASETS, START, END),
    ),
    ApiRoute(
        "POST",
        "/v2/annotations",
        create_annotation,
        Permission("annotations", "create"),
        audit=AuditAction("createAnnotation", "annotation"),
        body=NewAnnotation,
        example={
            "type": "deployment",
            "datasets": ["demo"],
            "time": "2026-01-02T03:04:05Z",
            "title": "Version 1.4",
        },
        answer=Annotation,
        refusals=(404,),
    ),
    ApiRoute("GET", "/v2/annotations/{id}", get_annotation, Permission("annotations", "read"), answer=Annotation),
    ApiRoute(
        "PUT",
        "/v2/annotations/{id}",
        update_annotation,
        Permission("annotations", "update"),
        audit=AuditAction("updateAnnotation", "annotation"),
        body=AnnotationChange,
        example={"title": "Version 1.4 is out"},
        answer=Annotation,
    ),
    ApiRoute(
        "DELETE",
        "/v2/annotations/{id}",
        delete_annotation,
        Permission("annotations", "delete"),
        audit=AuditAction("deleteAnnotation", "annotation"),
        answer=None,
    ),
)
