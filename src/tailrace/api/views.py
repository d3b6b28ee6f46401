"""Views over HTTP: named APL queries, which other queries read like datasets.

Source: Axiom's page on views. Who may read a view may read its result, whatever its datasets are.
"""

import asyncio
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, allows_view, require_own, require_query
from tailrace.api.collection import Collection
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import BadRequest, DatasetNotFound, checked_text
from tailrace.query import AplRequest
from tailrace.query.apl.errors import AplError
from tailrace.query.compile.request import ViewSource
from tailrace.query.datasets import ReadableDatasets
from tailrace.query.run import datasets_of
from tailrace.storage.documents import Document, DocumentStore

COLLECTION = "views"
MAX_NAME_LENGTH = 128  # characters
MAX_TEXT_LENGTH = 4096  # characters of a description
MAX_QUERY_LENGTH = 500_000  # characters
MAX_DATASETS = 1_000


class ViewBody(Struct, rename="camel"):
    """A view to create or replace; null counts as not given."""

    name: str
    apl_query: str
    description: str | None = None
    datasets: list[str] | None = None


class ViewAnswer(Struct, frozen=True, rename="camel"):
    """A view as Axiom's clients have it."""

    id: str
    name: str
    apl_query: str
    description: str
    datasets: list[str]


async def list_views(request: Request, services: Services, grant: Grant) -> Response:
    """Return the views of the organisation."""
    documents = await _collection(services, grant).all()
    return json_response([_view_answer(each) for each in documents])


async def create_view(request: Request, services: Services, grant: Grant) -> Response:
    """Create a view; 409 where the name is taken, 400 for a query that does not compile."""
    content = await asyncio.to_thread(_validated_body, await read_json(request, ViewBody), services, grant)
    document = await _collection(services, grant).add(content)
    return json_response(_view_answer(document))


async def get_view(request: Request, services: Services, grant: Grant) -> Response:
    """Return a view."""
    view_id = request.path_params["id"]
    return json_response(_view_answer(await _collection(services, grant).get(view_id)))


async def update_view(request: Request, services: Services, grant: Grant) -> Response:
    """Replace a view."""
    view_id = request.path_params["id"]
    await _collection(services, grant).get(view_id)
    content = await asyncio.to_thread(_validated_body, await read_json(request, ViewBody), services, grant)

    document = await _collection(services, grant).replace(view_id, lambda _: content)
    return json_response(_view_answer(document))


async def delete_view(request: Request, services: Services, grant: Grant) -> Response:
    """Delete a view."""
    await _collection(services, grant).delete(request.path_params["id"])
    return no_content()


def _collection(services: Services, grant: Grant) -> Collection:
    return Collection(COLLECTION, services, grant, unique="name")


def readable_view(services: Services, grant: Grant, name: str) -> ViewSource | None:
    """Return the view of a name as a source of a query; None where there is none that the token may read."""
    return find_view(services.documents, grant, name)


def find_view(documents: DocumentStore, grant: Grant, name: str) -> ViewSource | None:
    """Return the view of a name as a source of a query; None where there is none that the grant covers."""
    for document in documents.list_in(grant.organisation, COLLECTION):
        if document.body["name"] == name and allows_view(grant, name, document.id):
            reads = document.body.get("reads")
            return ViewSource(document.body["aplQuery"], None if reads is None else tuple(reads))
    return None


def view_names(documents: DocumentStore, grant: Grant) -> list[str]:
    """Return the names of the views that the grant covers, in order."""
    found = documents.list_in(grant.organisation, COLLECTION)
    return sorted(each.body["name"] for each in found if allows_view(grant, each.body["name"], each.id))


def _readable_datasets(apl: str, services: Services, grant: Grant) -> list[str] | None:
    """Return the datasets that a view reads, all readable by its author; None where one does not exist yet.

    Raise Forbidden for one that its author may not read, AplError for a query that does not compile.
    """

    check = partial(require_query, grant)

    datasets = ReadableDatasets(services.lake, check, timeout_s=lambda: services.engine.limits.timeout_s)
    try:
        return list(datasets_of(AplRequest(apl=apl), datasets.snapshot, datasets.names))
    except DatasetNotFound:
        return None


def _validated_body(body: ViewBody, services: Services, grant: Grant) -> dict[str, Any]:
    """Return the body to store; raise BadRequest, AplError, Forbidden."""
    checked_text(body.name, "name", least=1, most=MAX_NAME_LENGTH)
    checked_text(body.apl_query, "aplQuery", least=1, most=MAX_QUERY_LENGTH, lines=True)
    checked_text(body.description or "", "description", most=MAX_TEXT_LENGTH, lines=True)
    datasets = body.datasets or []
    if len(datasets) > MAX_DATASETS:
        raise BadRequest(f"{len(datasets)} datasets are more than a view may have, {MAX_DATASETS}")
    for dataset in datasets:
        require_own(grant, dataset)
    try:
        reads = _readable_datasets(body.apl_query, services, grant)
    except RecursionError as error:
        raise BadRequest("aplQuery is nested too deeply") from error
    except AplError as error:
        raise error.located(body.apl_query) from error
    return {
        "name": body.name,
        "aplQuery": body.apl_query,
        "description": body.description or "",
        "datasets": datasets,
        "reads": reads,
    }


def _view_answer(document: Document) -> ViewAnswer:
    return msgspec.convert({"id": document.id, **document.body}, ViewAnswer)


_EXAMPLE = {"name": "errors", "aplQuery": "demo | where level == 'error'", "datasets": ["demo"]}

ROUTES = (
    ApiRoute("GET", "/v2/views", list_views, Permission("views", "read"), answer=list[ViewAnswer]),
    ApiRoute(
        "POST",
        "/v2/views",
        create_view,
        Permission("views", "create"),
        audit=AuditAction("createView", "view"),
        body=ViewBody,
        example=_EXAMPLE,
        answer=ViewAnswer,
        refusals=(409,),
    ),
    ApiRoute("GET", "/v2/views/{id}", get_view, Permission("views", "read"), answer=ViewAnswer),
    ApiRoute(
        "PUT",
        "/v2/views/{id}",
        update_view,
        Permission("views", "update"),
        audit=AuditAction("updateView", "view"),
        body=ViewBody,
        example=_EXAMPLE,
        answer=ViewAnswer,
        refusals=(409,),
    ),
    ApiRoute(
        "DELETE",
        "/v2/views/{id}",
        delete_view,
        Permission("views", "delete"),
        audit=AuditAction("deleteView", "view"),
        answer=None,
    ),
)
