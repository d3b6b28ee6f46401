"""Taking events out of datasets over HTTP: trim by age, delete by APL; and vacuum, which puts their files in order."""

import asyncio
import time
from functools import partial

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, require, require_query
from tailrace.api import execution
from tailrace.api.audit import note
from tailrace.api.route import ANY_TOKEN, ApiRoute, AuditAction, under
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.api.times import time_range
from tailrace.events import BadRequest, Conflict, Overloaded
from tailrace.events.times import rfc3339
from tailrace.lake import Deletion
from tailrace.query import Interrupt
from tailrace.query.apl_request import AplRequest
from tailrace.query.deletion import RowsMatched
from tailrace.query.legacy import duration_ns

VACUUM_RETRY_AFTER_S = 5


class Trim(Struct, rename="camel"):
    """Events older than this are deleted."""

    max_duration: str  # as Go writes it: 1s, 1h0m0s


class Trimmed(Struct, frozen=True, rename="camel"):
    """How many events were deleted."""

    num_deleted: int


class Vacuumed(Struct, frozen=True, rename="camel"):
    """The files of the table before and after, and how many files were removed from the disk."""

    files_before: int
    files_after: int
    files_removed: int


class DeleteBody(Struct, rename="camel"):
    """Which events to delete: an APL query that only filters a dataset, and a range of time, which is half open."""

    apl: str
    start_time: str | None = None
    end_time: str | None = None
    commit: bool | None = None  # unless true, what would be deleted is only counted


class Deleted(Struct, frozen=True, rename="camel"):
    """What was deleted, or would be. A block is a file; times are RFC 3339, null where no event matched."""

    dry_run: bool
    rows_matched: int
    rows_deleted: int
    blocks_matched: int
    first_matched_event: str | None
    last_matched_event: str | None


async def trim_counted(request: Request, services: Services, grant: Grant) -> Response:
    """Delete the events that are older than a duration, and say how many."""
    return json_response(Trimmed(await _trim(request, services, grant)))


async def trim(request: Request, services: Services, grant: Grant) -> Response:
    """Delete the events that are older than a duration."""
    await _trim(request, services, grant)
    return no_content()


async def _trim(request: Request, services: Services, grant: Grant) -> int:
    name = request.path_params["id"]
    require(grant, capability="trim", action="update", dataset=name)
    primary_key = services.lake.get(name).primary_key
    body = await read_json(request, Trim)
    age_ns = duration_ns(body.max_duration)
    if age_ns is None:
        raise BadRequest(f"maxDuration is {body.max_duration!r}, but it is a duration such as 1h0m0s, 30m or 7d")
    if primary_key:
        raise Conflict(f"dataset {name!r} holds the current state of each {primary_key}; it is not trimmed by age")
    deleted = await asyncio.to_thread(services.lake.trim, name, time.time_ns() - age_ns)
    note(request, max_duration=body.max_duration, rows_deleted=deleted)
    return deleted


async def vacuum(request: Request, services: Services, grant: Grant) -> Response:
    """Merge small files of a dataset and remove those that nothing needs any more; 429 while that is under way."""
    name = request.path_params["id"]
    require(grant, capability="vacuum", action="update", dataset=name)
    services.lake.get(name)
    if name in services.vacuuming:
        raise Overloaded(f"dataset {name!r} is being vacuumed already", retry_after_s=VACUUM_RETRY_AFTER_S)
    services.vacuuming.add(name)
    try:
        return json_response(await asyncio.to_thread(_vacuum, services, name))
    finally:
        services.vacuuming.discard(name)


def _vacuum(services: Services, name: str) -> Vacuumed:
    lake = services.lake
    lake.commit_now(name)
    before = len(services.snapshot(name).files)
    lake.compact(name)
    after = len(services.snapshot(name).files)
    return Vacuumed(before, after, lake.sweep(name))


async def delete_matching(request: Request, services: Services, grant: Grant) -> Response:
    """Delete the events that an APL query matches, all of them or none; without `commit` it only counts them."""
    body = await read_json(request, DeleteBody)
    start_ns, end_ns = time_range(body.start_time, body.end_time)
    query = AplRequest(
        apl=body.apl,
        start_ns=start_ns,
        end_ns=end_ns,
        virtual_fields=services.fields.expressions(),
        map_fields=services.fields.shown_map_fields(),
    )

    named: list[str] = []

    check = partial(require_query, grant)

    def work(interrupt: Interrupt) -> Deletion:
        matched = RowsMatched(services.lake, services.engine, query, check=check, interrupt=interrupt)
        require(grant, capability="data", action="delete", dataset=matched.dataset)
        named.append(matched.dataset)
        matched.compiled()  # so that a query that is wrong is refused where there are no files to ask it of
        return services.lake.delete_where(matched.dataset, matched, dry_run=not body.commit)

    if body.commit:
        # It goes on when its client hangs up: what was deleted is to be in the audit trail, whoever waits for it.
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        deletion = await execution.run_until(services, grant, work, never, is_limited=False)
    else:
        async with execution.disconnection(request) as gone:
            deletion = await execution.run_until(services, grant, work, gone, is_limited=False)
    note(
        request,
        resource=named[0],
        changed=bool(body.commit),
        apl=body.apl,
        start_time=body.start_time,
        end_time=body.end_time,
        rows_deleted=deletion.rows_deleted,
    )
    return json_response(
        Deleted(
            dry_run=not body.commit,
            rows_matched=deletion.rows_matched,
            rows_deleted=deletion.rows_deleted,
            blocks_matched=deletion.files_removed + deletion.files_rewritten,
            first_matched_event=None if deletion.first_ns is None else rfc3339(deletion.first_ns),
            last_matched_event=None if deletion.last_ns is None else rfc3339(deletion.last_ns),
        )
    )


TRIM = "trim:update on the dataset"
_EXAMPLE = {"maxDuration": "720h"}

ROUTES = (
    *under(
        ("/v1", "/api/v1"),
        ApiRoute(
            "POST",
            "/datasets/{id}/trim",
            trim_counted,
            ANY_TOKEN,
            audit=AuditAction("trimDataset", "dataset"),
            body=Trim,
            example=_EXAMPLE,
            answer=Trimmed,
            refusals=(409, 429, 503),
            further_permission=TRIM,
        ),
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/{id}/trim",
        trim,
        ANY_TOKEN,
        audit=AuditAction("trimDataset", "dataset"),
        body=Trim,
        example=_EXAMPLE,
        answer=None,
        refusals=(409, 429, 503),
        further_permission=TRIM,
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/{id}/vacuum",
        vacuum,
        ANY_TOKEN,
        audit=AuditAction("vacuumDataset", "dataset"),
        answer=Vacuumed,
        refusals=(429, 503),
        further_permission="vacuum:update on the dataset",
    ),
    ApiRoute(
        "POST",
        "/v2/datasets/_apl/delete",
        delete_matching,
        ANY_TOKEN,
        audit=AuditAction("aplDelete", "dataset"),
        body=DeleteBody,
        example={"apl": "demo | where level == 'debug'", "endTime": "now-7d", "commit": False},
        answer=Deleted,
        further_permission="query:read and data:delete on the dataset",
        refusals=(404, 409, 422, 429, 503),
    ),
)
