"""Starred queries over HTTP: queries that users save under a name."""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, allows, require
from tailrace.access.capabilities import EVERY_DATASET
from tailrace.api.collection import Collection, require_on
from tailrace.api.paging import LIMIT, OFFSET, page
from tailrace.api.route import ANY_TOKEN, ApiRoute, AuditAction, under
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import BadRequest, NotFound, checked_text
from tailrace.protocols.http import ParameterDoc
from tailrace.storage.documents import Document

COLLECTION = "starred queries"
CAPABILITY = "starredQueries"
KIND = "apl"
MAX_NAME_LENGTH = 256  # characters
MAX_QUERY_LENGTH = 500_000  # characters of its APL, as Axiom's document of dashboards has it
ALL = "all"  # as `who`: of all users
TEAM = "team"  # as `who`: of all other users


class StarredQueryBody(Struct):
    """A starred query to create or replace; null counts as not given."""

    name: str
    query: dict[str, Any]  # at least its "apl"
    kind: str = KIND
    dataset: str | None = None  # none where the query names its datasets
    who: str | None = None  # id of the user that owns it; null for the token's user
    metadata: dict[str, Any] | None = None


class StarredQuery(Struct, frozen=True):
    """A starred query as Axiom's clients have it."""

    id: str
    kind: str
    name: str
    who: str  # id of the user that owns it
    dataset: str
    query: dict[str, Any]
    metadata: dict[str, Any]


async def list_starred_queries(request: Request, services: Services, grant: Grant) -> Response:
    """Return the user's own starred queries, or those of `who`: the id of a user, "team" for all others, "all".

    `dataset` and `qs`, a part of the name or of the APL, filter them.
    """
    parameters = request.query_params
    who, dataset, text = parameters.get("who"), parameters.get("dataset"), parameters.get("qs", "").lower()
    documents = await Collection(COLLECTION, services, grant).all()
    queries = [
        query
        for query in map(_starred_query, documents)
        if _allows_on_dataset(grant, "read", query.dataset)
        and _is_owned_by(query, who, grant.user_id)
        and (not dataset or query.dataset == dataset)
        and (text in query.name.lower() or text in query.query["apl"].lower())
    ]
    return json_response(page(request, queries))


async def create_starred_query(request: Request, services: Services, grant: Grant) -> Response:
    """Create a starred query, owned by the token's user unless `who` names another."""
    body = await read_json(request, StarredQueryBody)
    content = await asyncio.to_thread(_validated_body, body, services, grant, grant.user_id)
    _require_on_dataset(grant, "create", content["dataset"])
    document = await Collection(COLLECTION, services, grant).add(content)
    return json_response(_starred_query(document))


async def get_starred_query(request: Request, services: Services, grant: Grant) -> Response:
    """Return a starred query."""
    return json_response(await _find(request, services, grant, "read"))


async def update_starred_query(request: Request, services: Services, grant: Grant) -> Response:
    """Replace a starred query."""
    before = await _find(request, services, grant, "update")
    body = await read_json(request, StarredQueryBody)
    content = await asyncio.to_thread(_validated_body, body, services, grant, before.who)
    _require_on_dataset(grant, "update", content["dataset"])

    def changed(now: Document) -> dict[str, Any]:
        _require_on_dataset(grant, "update", now.body["dataset"])  # it may have moved to another dataset meanwhile
        return content if body.who else {**content, "who": now.body["who"]}

    document = await Collection(COLLECTION, services, grant).replace(before.id, changed)
    return json_response(_starred_query(document))


async def delete_starred_query(request: Request, services: Services, grant: Grant) -> Response:
    """Delete a starred query."""
    query = await _find(request, services, grant, "delete")
    await Collection(COLLECTION, services, grant).delete(query.id)
    return no_content()


def _allows_on_dataset(grant: Grant, action: str, dataset: str) -> bool:
    # A query without a dataset of its own may name any.
    return allows(grant, capability=CAPABILITY, action=action, dataset=dataset or EVERY_DATASET)


def _require_on_dataset(grant: Grant, action: str, dataset: str) -> None:
    require(grant, capability=CAPABILITY, action=action, dataset=dataset or EVERY_DATASET)


def _is_owned_by(query: StarredQuery, who: str | None, user: str) -> bool:
    if who == ALL:
        return True
    return query.who != user if who == TEAM else query.who == (who or user)


async def _find(request: Request, services: Services, grant: Grant, action: str) -> StarredQuery:
    query_id = request.path_params["id"]
    query = _starred_query(await Collection(COLLECTION, services, grant).get(query_id))
    missing = f"{query_id!r} not found in {COLLECTION}"
    require_on(grant, capability=CAPABILITY, action=action, dataset=query.dataset, missing=missing)
    return query


def _validated_body(body: StarredQueryBody, services: Services, grant: Grant, owner: str) -> dict[str, Any]:
    """Return the body to store; raise BadRequest for a value that Axiom's API does not allow."""
    apl = body.query.get("apl")
    if body.kind != KIND:
        raise BadRequest(f"kind {body.kind[:40]!r} is not known; it is {KIND!r}")
    checked_text(body.name, "name", least=1, most=MAX_NAME_LENGTH)
    if not isinstance(apl, str) or not apl.strip() or len(apl) > MAX_QUERY_LENGTH:
        raise BadRequest(f"query.apl is text of 1 to {MAX_QUERY_LENGTH} characters")
    who = body.who or owner
    if who not in (owner, grant.user_id):
        try:
            services.access.users.get_user(who, grant.organisation)
        except NotFound as error:
            raise BadRequest(f"who is the id of a user of the organisation, {who[:100]!r} is none") from error
    return {
        "kind": KIND,
        "name": body.name,
        "who": who,
        "dataset": body.dataset or "",
        "query": body.query,
        "metadata": body.metadata or {},
    }


def _starred_query(document: Document) -> StarredQuery:
    query = document.body["query"]
    query = {**query, "queryOptions": query.get("queryOptions") or {}}  # Axiom's clients require it
    return msgspec.convert({"id": document.id, **document.body, "query": query}, StarredQuery)


WHO = ParameterDoc("who", "Whose they are: a user's id, `team` for the others', `all`; one's own where not given.")
OF_DATASET = ParameterDoc("dataset", "Those of this dataset.")
TEXT = ParameterDoc("qs", "A part of their name or of their APL.")
_EXAMPLE = {"name": "Errors", "query": {"apl": "demo | where level == 'error'"}}

ROUTES = (
    *under(
        ("/v1", "/v2"),
        ApiRoute(
            "GET",
            "/apl-starred-queries",
            list_starred_queries,
            ANY_TOKEN,
            answer=list[StarredQuery],
            parameters=(WHO, OF_DATASET, TEXT, LIMIT, OFFSET),
            further_permission="starredQueries:read on the dataset",
        ),
        ApiRoute(
            "POST",
            "/apl-starred-queries",
            create_starred_query,
            ANY_TOKEN,
            audit=AuditAction("createStarredQuery", "starredQuery"),
            body=StarredQueryBody,
            example=_EXAMPLE,
            answer=StarredQuery,
            further_permission="starredQueries:create on the dataset",
        ),
        ApiRoute(
            "GET",
            "/apl-starred-queries/{id}",
            get_starred_query,
            ANY_TOKEN,
            answer=StarredQuery,
            further_permission="starredQueries:read on the dataset",
        ),
        ApiRoute(
            "PUT",
            "/apl-starred-queries/{id}",
            update_starred_query,
            ANY_TOKEN,
            audit=AuditAction("updateStarredQuery", "starredQuery"),
            body=StarredQueryBody,
            example=_EXAMPLE,
            answer=StarredQuery,
            further_permission="starredQueries:update on the dataset",
        ),
        ApiRoute(
            "DELETE",
            "/apl-starred-queries/{id}",
            delete_starred_query,
            ANY_TOKEN,
            audit=AuditAction("deleteStarredQuery", "starredQuery"),
            answer=None,
            further_permission="starredQueries:delete on the dataset",
        ),
    ),
)
