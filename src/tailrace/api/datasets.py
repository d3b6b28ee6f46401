"""Datasets over HTTP: list, create, get, drop, in the objects of Axiom's management API."""

import asyncio

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, is_foreign, require_own
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events.times import rfc3339
from tailrace.lake import DatasetInfo


class Dataset(Struct, frozen=True, rename="camel"):
    """A dataset as Axiom's clients decode it, strictly."""

    id: str
    name: str
    description: str
    who: str
    created: str  # RFC 3339
    kind: str
    can_write: bool
    use_retention_period: bool
    retention_days: int
    map_fields: list[str]


class NewDataset(Struct, rename="camel"):
    """What a client sends to create one; members that are not known are passed over."""

    name: str
    description: str | None = None


async def list_datasets(request: Request, services: Services, grant: Grant) -> Response:
    """Every dataset of the organisation, by name."""
    return json_response(
        [
            _shown(info)
            for info in services.lake.datasets()
            if not is_foreign(grant.organisation, info.name, grant.owner_of)
        ]
    )


async def create_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """Makes a dataset; 409 where there is one of that name, 400 for a name that cannot be one."""
    wanted = await read_json(request, NewDataset)
    info = await asyncio.to_thread(
        services.lake.create,
        wanted.name,
        description=wanted.description or "",
        who=grant.user_id,
        organisation=grant.organisation,
    )
    return json_response(_shown(info))


async def get_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """One dataset."""
    name = request.path_params["id"]
    require_own(grant, name)
    return json_response(_shown(services.lake.get(name)))


async def delete_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """Drops a dataset, its events and its virtual fields."""
    name = request.path_params["id"]
    require_own(grant, name)
    await asyncio.to_thread(services.lake.drop, name)
    await asyncio.to_thread(services.store.drop_dataset, name)
    return no_content()


def _shown(info: DatasetInfo) -> Dataset:
    return Dataset(
        id=info.name,
        name=info.name,
        description=info.description,
        who=info.who,
        created=rfc3339(info.created_ns),
        kind=info.kind,
        can_write=True,
        use_retention_period=info.use_retention_period,
        retention_days=info.retention_days,
        map_fields=[],
    )
