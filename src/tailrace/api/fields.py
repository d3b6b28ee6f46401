"""The fields of a dataset over HTTP: their metadata, and which are map fields."""

import asyncio

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, require_changeable, require_own, require_query
from tailrace.api.field_store import FieldNote
from tailrace.api.route import ANY_TOKEN, QUERY, ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.api.statistics import FieldAnswer, fields_of
from tailrace.events import Conflict, NotFound, checked_text

MAX_UNIT_LENGTH = 64  # characters
MAX_DESCRIPTION_LENGTH = 4096  # characters


class FieldChange(Struct):
    """A change of a field's metadata; null leaves a member as it is. Name and type cannot change."""

    unit: str | None = None
    hidden: bool | None = None
    description: str | None = None


class MapField(Struct):
    """A field whose objects are stored as one column."""

    name: str


async def get_field(request: Request, services: Services, grant: Grant) -> Response:
    """Return a field of a dataset."""
    name = request.path_params["id"]
    require_query(grant, name)
    return json_response(await asyncio.to_thread(_field, services, name, request.path_params["field"]))


async def update_field(request: Request, services: Services, grant: Grant) -> Response:
    """Update the unit, the description, or whether the field is hidden."""
    body = await read_json(request, FieldChange)
    name, field = request.path_params["id"], request.path_params["field"]
    require_changeable(grant, name)
    checked_text(body.unit or "", "unit", most=MAX_UNIT_LENGTH)
    checked_text(body.description or "", "description", most=MAX_DESCRIPTION_LENGTH, lines=True)

    def noted(before: FieldNote) -> FieldNote:
        return FieldNote(
            before.unit if body.unit is None else body.unit,
            before.hidden if body.hidden is None else body.hidden,
            before.description if body.description is None else body.description,
        )

    def change() -> FieldAnswer:
        if any(each.name == field for each in services.fields.virtual_fields(name)):
            raise Conflict(f"{field!r} is a virtual field: change it by PUT /v2/vfields/{{id}}")
        field_type = _field(services, name, field)
        note = services.fields.note_field(name, field, noted)
        return FieldAnswer(field_type.name, field_type.type, note.unit, note.hidden, note.description)

    return json_response(await asyncio.to_thread(change))


async def list_map_fields(request: Request, services: Services, grant: Grant) -> Response:
    """Return the names of the map fields of a dataset."""
    name = request.path_params["id"]
    require_own(grant, name)
    services.lake.check(name)
    return json_response(await asyncio.to_thread(services.fields.map_fields, name))


async def replace_map_fields(request: Request, services: Services, grant: Grant) -> Response:
    """Replace the map fields of a dataset."""
    names = await read_json(request, list[str])
    dataset = _dataset(request, services, grant)
    return json_response(await asyncio.to_thread(services.fields.set_map_fields, dataset, names))


async def create_map_field(request: Request, services: Services, grant: Grant) -> Response:
    """Add a map field; 409 where it exists."""
    body = await read_json(request, MapField)
    await asyncio.to_thread(services.fields.add_map_field, _dataset(request, services, grant), body.name)
    return json_response(body)


async def delete_map_field(request: Request, services: Services, grant: Grant) -> Response:
    """Remove a map field; its events stay as they are."""
    dataset = _dataset(request, services, grant)
    await asyncio.to_thread(services.fields.delete_map_field, dataset, request.path_params["field"])
    return no_content()


def _dataset(request: Request, services: Services, grant: Grant) -> str:
    name: str = request.path_params["id"]
    require_changeable(grant, name)
    services.lake.check(name)
    return name


def _field(services: Services, dataset: str, name: str) -> FieldAnswer:
    for each in fields_of(services, dataset):
        if each.name == name:
            return each
    raise NotFound(f"field {name!r} of dataset {dataset!r} not found")


ROUTES = (
    ApiRoute(
        "GET",
        "/v2/datasets/{id}/fields/{field:path}",
        get_field,
        ANY_TOKEN,
        answer=FieldAnswer,
        further_permission=QUERY,
    ),
    ApiRoute(
        "PUT",
        "/v2/datasets/{id}/fields/{field:path}",
        update_field,
        Permission("datasets", "update"),
        audit=AuditAction("updateField", "dataset"),
        body=FieldChange,
        example={"unit": "ms", "description": "How long the answer took"},
        answer=FieldAnswer,
        refusals=(409,),
    ),
    ApiRoute("GET", "/v2/datasets/{id}/mapfields", list_map_fields, Permission("datasets", "read"), answer=list[str]),
    ApiRoute(
        "PUT",
        "/v2/datasets/{id}/mapfields",
        replace_map_fields,
        Permission("datasets", "update"),
        audit=AuditAction("updateMapFields", "dataset"),
        body=list[str],
        example=["attributes"],
        answer=list[str],
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/{id}/mapfields",
        create_map_field,
        Permission("datasets", "update"),
        audit=AuditAction("createMapField", "dataset"),
        body=MapField,
        example={"name": "attributes"},
        answer=MapField,
        refusals=(409,),
    ),
    ApiRoute(
        "DELETE",
        "/v2/datasets/{id}/mapfields/{field:path}",
        delete_map_field,
        Permission("datasets", "update"),
        audit=AuditAction("deleteMapField", "dataset"),
        answer=None,
    ),
)
