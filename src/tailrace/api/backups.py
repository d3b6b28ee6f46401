"""Backups over HTTP: what a running server gives to be copied, file by file, while it goes on."""

import asyncio
from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tailrace.access import Grant
from tailrace.api.audit import note
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content
from tailrace.backup.content import BackupBegun, BackupListing, FileUnreadable
from tailrace.events import BadRequest
from tailrace.protocols.http import ParameterDoc
from tailrace.storage.faults import reason_of

BACKUP = Permission("server", "backup")
OCTETS = "application/octet-stream"


async def begin_backup(request: Request, services: Services, grant: Grant) -> Response:
    """Begin a backup of all that was acknowledged; its files stay until it is copied, or left alone for 10 minutes."""
    begun = await asyncio.to_thread(services.backups.begin)
    note(request, resource=begun.id)
    return json_response(begun)


async def list_backup_dataset(request: Request, services: Services, grant: Grant) -> Response:
    """List the files of a dataset of a backup."""
    backup, dataset = request.path_params["id"], request.path_params["dataset"]
    return json_response(await asyncio.to_thread(services.backups.listing, backup, dataset))


async def read_backup_file(request: Request, services: Services, grant: Grant) -> Response:
    """Return the content of a file of a backup, of a dataset or without one of the data directory."""
    dataset, name = request.query_params.get("dataset", ""), request.query_params.get("name", "")
    if not name:
        raise BadRequest("the parameter name is missing: the name of a file of the backup")
    size, chunks = await asyncio.to_thread(services.backups.content, request.path_params["id"], dataset, name)
    first = await asyncio.to_thread(_first, chunks, name)
    headers = {"content-length": str(size)}
    return StreamingResponse(_joined(first, chunks), media_type=OCTETS, headers=headers)


async def end_backup(request: Request, services: Services, grant: Grant) -> Response:
    """End a backup, once it is copied or given up."""
    await asyncio.to_thread(services.backups.end, request.path_params["id"])
    return no_content()


def _first(chunks: Iterator[bytes], name: str) -> bytes:
    """Return the beginning of a file, so that one that cannot be opened is refused before anything is answered."""
    try:
        return next(chunks, b"")
    except OSError as error:
        raise FileUnreadable(f"{name[:200]} cannot be read: {reason_of(error)}") from error


def _joined(first: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from chunks


ROUTES = (
    ApiRoute(
        "POST",
        "/tailrace/v1/backups",
        begin_backup,
        BACKUP,
        audit=AuditAction("createBackup", "backup"),
        answer=BackupBegun,
        refusals=(409, 503),
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/backups/{id}/datasets/{dataset}",
        list_backup_dataset,
        BACKUP,
        answer=BackupListing,
        refusals=(409,),
    ),
    ApiRoute(
        "GET",
        "/tailrace/v1/backups/{id}/content",
        read_backup_file,
        BACKUP,
        parameters=(
            ParameterDoc("name", "The name of the file, as it is listed.", required=True),
            ParameterDoc("dataset", "The dataset of the file; none for one of the data directory."),
        ),
        media={OCTETS: {"type": "string", "format": "binary"}},
        refusals=(400, 409, 410),
    ),
    ApiRoute(
        "DELETE",
        "/tailrace/v1/backups/{id}",
        end_backup,
        BACKUP,
        audit=AuditAction("endBackup", "backup"),
        answer=None,
    ),
)
