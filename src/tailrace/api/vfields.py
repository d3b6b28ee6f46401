"""Virtual fields over HTTP: fields of a dataset that APL expressions compute."""

import asyncio

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, require
from tailrace.api.collection import require_on
from tailrace.api.field_store import VirtualField
from tailrace.api.route import ANY_TOKEN, ApiRoute, AuditAction
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import BadRequest, checked_text
from tailrace.protocols.http import ParameterDoc
from tailrace.query.apl.errors import AplError
from tailrace.query.apl.parser import parse_expression
from tailrace.query.apl.tree import VIRTUAL_ALONE
from tailrace.query.apl.walk import has_subquery
from tailrace.storage.tables import MAX_VIRTUAL_FIELD_NAME_LENGTH

CAPABILITY = "virtualFields"
MAX_EXPRESSION_LENGTH = 64 * 1024  # characters
MAX_TEXT_LENGTH = 4096  # characters of a description
MAX_WORD_LENGTH = 64  # characters of a type or a unit


class VirtualFieldBody(Struct):
    """A virtual field to create or replace; null counts as not given."""

    dataset: str
    name: str
    expression: str
    description: str | None = None
    type: str | None = None
    unit: str | None = None


async def list_virtual_fields(request: Request, services: Services, grant: Grant) -> Response:
    """Return the virtual fields of a dataset."""
    dataset = request.query_params.get("dataset")
    if not dataset:
        raise BadRequest("the parameter dataset is missing: /v2/vfields?dataset=NAME")
    _require(grant, "read", dataset)
    services.lake.check(dataset)
    return json_response(await asyncio.to_thread(services.fields.virtual_fields, dataset))


async def create_virtual_field(request: Request, services: Services, grant: Grant) -> Response:
    """Create a virtual field; 409 where the name is taken. Its expression may name fields that do not exist yet."""
    field = _validated(await read_json(request, VirtualFieldBody), "")
    _require(grant, "create", field.dataset)
    services.lake.check(field.dataset)
    return json_response(await asyncio.to_thread(services.fields.create_virtual_field, field))


async def get_virtual_field(request: Request, services: Services, grant: Grant) -> Response:
    """Return a virtual field."""
    return json_response(await _find(request, services, grant, "read"))


async def update_virtual_field(request: Request, services: Services, grant: Grant) -> Response:
    """Replace a virtual field."""
    before = await _find(request, services, grant, "update")
    field = _validated(await read_json(request, VirtualFieldBody), before.id)
    _require(grant, "update", field.dataset)
    services.lake.check(field.dataset)

    def check(now: VirtualField) -> None:
        _require(grant, "update", now.dataset)  # it may have moved to another dataset meanwhile

    return json_response(await asyncio.to_thread(services.fields.update_virtual_field, field, check))


async def delete_virtual_field(request: Request, services: Services, grant: Grant) -> Response:
    """Delete a virtual field."""
    field = await _find(request, services, grant, "delete")
    await asyncio.to_thread(services.fields.delete_virtual_field, field.id)
    return no_content()


def _require(grant: Grant, action: str, dataset: str) -> None:
    require(grant, capability=CAPABILITY, action=action, dataset=dataset)


async def _find(request: Request, services: Services, grant: Grant, action: str) -> VirtualField:
    field = await asyncio.to_thread(services.fields.virtual_field, request.path_params["id"])
    missing = f"virtual field {field.id!r} not found"
    require_on(grant, capability=CAPABILITY, action=action, dataset=field.dataset, missing=missing)
    return field


def _validated(body: VirtualFieldBody, field_id: str) -> VirtualField:
    """Return the field of a body; raise BadRequest for a bad value, AplError for a bad expression."""
    checked_text(body.name, "name", least=1, most=MAX_VIRTUAL_FIELD_NAME_LENGTH)
    checked_text(body.expression, "expression", least=1, most=MAX_EXPRESSION_LENGTH, lines=True)
    checked_text(body.description or "", "description", most=MAX_TEXT_LENGTH, lines=True)
    checked_text(body.type or "", "type", most=MAX_WORD_LENGTH)
    checked_text(body.unit or "", "unit", most=MAX_WORD_LENGTH)
    try:
        expression = parse_expression(body.expression)
        if has_subquery(expression):
            raise AplError(VIRTUAL_ALONE, expression.at)
    except AplError as error:
        raise error.located(body.expression) from error
    return VirtualField(
        field_id,
        body.dataset,
        body.name,
        body.expression,
        body.description or "",
        body.type or "",
        body.unit or "",
    )


DATASET = ParameterDoc("dataset", "The dataset whose fields they are.", required=True)
_EXAMPLE = {"dataset": "demo", "name": "is_error", "expression": "level == 'error'"}

ROUTES = (
    ApiRoute(
        "GET",
        "/v2/vfields",
        list_virtual_fields,
        ANY_TOKEN,
        answer=list[VirtualField],
        parameters=(DATASET,),
        refusals=(404,),
        further_permission="virtualFields:read on the dataset",
    ),
    ApiRoute(
        "POST",
        "/v2/vfields",
        create_virtual_field,
        ANY_TOKEN,
        audit=AuditAction("createVirtualField", "virtualField"),
        body=VirtualFieldBody,
        example=_EXAMPLE,
        answer=VirtualField,
        refusals=(404, 409),
        further_permission="virtualFields:create on the dataset",
    ),
    ApiRoute(
        "GET",
        "/v2/vfields/{id}",
        get_virtual_field,
        ANY_TOKEN,
        answer=VirtualField,
        further_permission="virtualFields:read on the dataset",
    ),
    ApiRoute(
        "PUT",
        "/v2/vfields/{id}",
        update_virtual_field,
        ANY_TOKEN,
        audit=AuditAction("updateVirtualField", "virtualField"),
        body=VirtualFieldBody,
        example=_EXAMPLE,
        answer=VirtualField,
        refusals=(409,),
        further_permission="virtualFields:update on the dataset",
    ),
    ApiRoute(
        "DELETE",
        "/v2/vfields/{id}",
        delete_virtual_field,
        ANY_TOKEN,
        audit=AuditAction("deleteVirtualField", "virtualField"),
        answer=None,
        further_permission="virtualFields:delete on the dataset",
    ),
)
