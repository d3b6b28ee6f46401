"""Datasets over HTTP: list, create, get, drop, in the objects of Axiom's management API."""

import asyncio
import logging
import re

from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, is_audit, is_foreign, may_query, require_changeable, require_no_audit, require_own
from tailrace.api.audit import note
from tailrace.api.route import ApiRoute, AuditAction, Permission, under
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import BadRequest, DatasetNotFound, DiskFull, StorageUnavailable, checked_text
from tailrace.events.times import rfc3339
from tailrace.lake import AUDIT_KIND, DatasetInfo

logger = logging.getLogger(__name__)

DEFAULT_KIND = "axiom:events:v1"
KINDS = (DEFAULT_KIND, "otel:metrics:v1", "otel:traces:v1", "otel:logs:v1")
MAX_RETENTION_DAYS = 365 * 100
MAX_DESCRIPTION_LENGTH = 4096  # characters
_DEPLOYMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class DatasetAnswer(Struct, frozen=True, rename="camel"):
    """A dataset as Axiom's clients decode it; they reject other types."""

    id: str
    name: str
    description: str
    who: str
    created: str  # RFC 3339
    updated_at: str  # RFC 3339
    kind: str
    can_write: bool
    use_retention_period: bool
    retention_days: int
    map_fields: list[str]
    unavailable: str | UnsetType = UNSET  # why it cannot be opened; left out otherwise
    edge_deployment: str | UnsetType = UNSET  # as it was given; left out where it was not
    region: str | UnsetType = UNSET  # the same, as v1 calls it


class NewDataset(Struct, rename="camel"):
    """A dataset to create; unknown members are ignored."""

    name: str
    description: str | None = None
    kind: str | None = None  # one of KINDS
    retention_days: int | None = None  # 0: no retention
    use_retention_period: bool | None = None  # null: true where `retentionDays` is more than 0
    edge_deployment: str | None = None  # stored and answered, without effect
    region: str | None = None  # the same, as v1 calls it


class DatasetChange(Struct, rename="camel"):
    """A change of a dataset; null leaves a member as it is."""

    description: str | None = None
    retention_days: int | None = None
    use_retention_period: bool | None = None


class EmptyObject(Struct, frozen=True):
    """An empty object."""


async def list_datasets(request: Request, services: Services, grant: Grant) -> Response:
    """Return the datasets of the organisation, by name, with the reason for any that cannot be opened."""
    map_fields = await asyncio.to_thread(services.fields.all_map_fields)
    infos: list[tuple[DatasetInfo, str | UnsetType]] = [(info, UNSET) for info in services.lake.datasets()]
    infos += [(dataset.info, dataset.reason) for dataset in services.lake.unavailable()]
    return json_response(
        [
            _dataset_answer(info, map_fields.get(info.name, []), unavailable=reason)
            for info, reason in sorted(infos, key=lambda pair: pair[0].name)
            if _is_visible(grant, info.name)
        ]
    )


async def create_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """Create a dataset; 409 where the name is taken, 400 for an invalid name."""
    body = await read_json(request, NewDataset)
    require_no_audit(body.name)
    if not services.lake.has(body.name):
        await asyncio.to_thread(services.fields.drop_dataset, body.name)
    info = await asyncio.to_thread(
        services.lake.create,
        body.name,
        description=_checked_description(body.description or ""),
        kind=_checked_kind(body.kind or DEFAULT_KIND),
        retention_days=_checked_days(body.retention_days) or 0,
        use_retention_period=bool(_use_retention_period(body.use_retention_period, body.retention_days)),
        who=grant.user_id,
        organisation=grant.organisation,
        edge_deployment=_checked_deployment(body),
    )
    return json_response(_dataset_answer(info, []))


async def get_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """Return a dataset."""
    name = request.path_params["id"]
    require_own(grant, name)
    if not _is_visible(grant, name):
        raise DatasetNotFound(f"dataset {name!r} not found")
    info = services.lake.get(name)
    return json_response(_dataset_answer(info, await asyncio.to_thread(services.fields.map_fields, name)))


async def update_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """Update the description or the retention; members that are not given stay."""
    name = request.path_params["id"]
    require_changeable(grant, name)
    body = await read_json(request, DatasetChange)
    given = {name: getattr(body, name) for name in body.__struct_fields__}
    note(request, **{name: value for name, value in given.items() if value is not None})
    info = await asyncio.to_thread(
        services.lake.update,
        name,
        description=None if body.description is None else _checked_description(body.description),
        retention_days=_checked_days(body.retention_days),
        use_retention_period=_use_retention_period(body.use_retention_period, body.retention_days),
    )
    return json_response(_dataset_answer(info, await asyncio.to_thread(services.fields.map_fields, name)))


async def delete_dataset_v1(request: Request, services: Services, grant: Grant) -> Response:
    """Drop a dataset, its events and its virtual fields; the answer is an empty object."""
    await delete_dataset(request, services, grant)
    # Axiom's asynchronous Python client decodes every response as JSON.
    return json_response(EmptyObject())


async def delete_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """Drop a dataset, its events and its virtual fields."""
    name = request.path_params["id"]
    require_changeable(grant, name)
    await asyncio.to_thread(services.lake.drop, name)
    try:
        await asyncio.to_thread(services.fields.drop_dataset, name)
    except (DiskFull, StorageUnavailable) as error:
        # The dataset is dropped, as requested; they are deleted before one of its name is created.
        logger.error(
            "the field metadata of the dropped dataset %r stays until one of its name is created: %s",
            name,
            error,
        )
    return no_content()


def _is_visible(grant: Grant, name: str) -> bool:
    if is_audit(name):
        return may_query(grant, name)
    return not is_foreign(grant.organisation, name, grant.owner_of)


def _checked_kind(kind: str) -> str:
    if kind not in KINDS:
        raise BadRequest(f"kind {kind!r} is not known; known are {', '.join(KINDS)}")
    return kind


def _checked_days(days: int | None) -> int | None:
    if days is not None and not 0 <= days <= MAX_RETENTION_DAYS:
        raise BadRequest(f"retentionDays is {days}, but it may be 0 (for good) to {MAX_RETENTION_DAYS}")
    return days


def _checked_description(description: str) -> str:
    return checked_text(description, "the description", most=MAX_DESCRIPTION_LENGTH, lines=True)


def _checked_deployment(body: NewDataset) -> str:
    deployment = body.edge_deployment or body.region or ""
    if body.region and body.region != deployment:
        raise BadRequest(f"edgeDeployment {deployment[:100]!r} and region {body.region[:100]!r} are not the same")
    if deployment and not _DEPLOYMENT.fullmatch(deployment):
        raise BadRequest(f"edgeDeployment {deployment[:100]!r} is none: it is like 'cloud.us-east-1.aws'")
    return deployment


def _use_retention_period(given: bool | None, days: int | None) -> bool | None:
    """Return whether retention is on; days given alone turn it on."""
    return days > 0 if given is None and days is not None else given


def _dataset_answer(info: DatasetInfo, map_fields: list[str], *, unavailable: str | UnsetType = UNSET) -> DatasetAnswer:
    return DatasetAnswer(
        id=info.name,
        name=info.name,
        description=info.description,
        who=info.who,
        created=rfc3339(info.created_ns),
        updated_at=rfc3339(info.updated_ns or info.created_ns),
        kind=DEFAULT_KIND if info.kind == AUDIT_KIND else info.kind,
        can_write=info.kind != AUDIT_KIND and unavailable is UNSET,
        use_retention_period=info.use_retention_period,
        retention_days=info.retention_days,
        map_fields=map_fields,
        unavailable=unavailable,
        edge_deployment=info.edge_deployment or UNSET,
        region=info.edge_deployment or UNSET,
    )


ROUTES = (
    *under(
        ("/v1", "/v2", "/api/v1"),
        ApiRoute("GET", "/datasets", list_datasets, Permission("datasets", "read"), answer=list[DatasetAnswer]),
        ApiRoute(
            "POST",
            "/datasets",
            create_dataset,
            Permission("datasets", "create"),
            audit=AuditAction("createDataset", "dataset"),
            body=NewDataset,
            example={"name": "shop", "description": "What the shop logs"},
            answer=DatasetAnswer,
            refusals=(409,),
        ),
        ApiRoute("GET", "/datasets/{id}", get_dataset, Permission("datasets", "read"), answer=DatasetAnswer),
        ApiRoute(
            "PUT",
            "/datasets/{id}",
            update_dataset,
            Permission("datasets", "update"),
            audit=AuditAction("updateDataset", "dataset"),
            body=DatasetChange,
            example={"description": "What the shop logs", "retentionDays": 30},
            answer=DatasetAnswer,
        ),
    ),
    *under(
        ("/v1", "/api/v1"),
        ApiRoute(
            "DELETE",
            "/datasets/{id}",
            delete_dataset_v1,
            Permission("datasets", "delete"),
            audit=AuditAction("deleteDataset", "dataset"),
            answer=EmptyObject,
        ),
    ),
    ApiRoute(
        "DELETE",
        "/v2/datasets/{id}",
        delete_dataset,
        Permission("datasets", "delete"),
        audit=AuditAction("deleteDataset", "dataset"),
        answer=None,
    ),
)
