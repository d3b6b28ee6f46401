"""Ingest keys of the protocols over HTTP: list, create, get, revoke."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant, KeyRecord, require
from tailrace.access.capabilities import EVERY_DATASET
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.services import Services, json_response, no_content, read_json
from tailrace.events import DatasetExists, TailraceError
from tailrace.protocols.registry import PROTOCOLS

EXAMPLE_DATASET = "logs"  # in the usage of a key for all datasets


class NewKey(Struct, rename="camel", forbid_unknown_fields=True):
    """A key to create; unknown members are errors, as a misspelt one could have limited the key."""

    name: str
    protocol: str = ""
    dialect: str = ""  # the name of `protocol` in version 0.1
    datasets: list[str] | None = None  # it may send to; ["*"] for all
    dataset: str | None = None  # it may send to
    destination: str | None = None  # system.application.environment
    expires_at: str | None = None  # RFC 3339; null for no end
    key: str | None = None  # a key that clients already have


class CreatedKey(KeyRecord, frozen=True, kw_only=True):
    """A new key with its secret, which is not stored."""

    key: str
    usage: list[str]  # lines on how to use it, in which {url} and {key} stand for the server's URL and the key


async def list_keys(request: Request, services: Services, grant: Grant) -> Response:
    """Return all keys, without secrets."""
    return json_response(await asyncio.to_thread(services.access.keys.list_keys, grant.organisation))


async def create_key(request: Request, services: Services, grant: Grant) -> Response:
    """Create a key, and its datasets where they are missing; the secret is in this answer only."""
    body = await read_json(request, NewKey)
    record, secret = await asyncio.to_thread(_create, services, grant, body)
    return json_response(
        msgspec.convert({**msgspec.to_builtins(record), "key": secret, "usage": _usage(services, record)}, CreatedKey),
        201,
    )


async def get_key(request: Request, services: Services, grant: Grant) -> Response:
    """Return a key, without its secret."""
    return json_response(
        await asyncio.to_thread(services.access.keys.get_key, request.path_params["id"], grant.organisation)
    )


async def delete_key(request: Request, services: Services, grant: Grant) -> Response:
    """Revoke a key, from its next use on."""
    await asyncio.to_thread(services.access.keys.delete_key, request.path_params["id"], grant.organisation)
    return no_content()


def _create(services: Services, grant: Grant, body: NewKey) -> tuple[KeyRecord, str]:
    record, secret = services.access.keys.create_key(
        body.protocol or body.dialect,
        body.name,
        datasets=body.datasets,
        dataset=body.dataset,
        destination=body.destination,
        expires_at=body.expires_at,
        key=body.key,
        actor=grant,
    )
    try:
        _make_datasets(services, grant, _datasets_of(record))
    except TailraceError:
        services.access.keys.delete_key(record.id)
        raise
    return record, secret


def _usage(services: Services, record: KeyRecord) -> list[str]:
    target = _datasets_of(record)[0]
    target = EXAMPLE_DATASET if target == EVERY_DATASET else target
    lines = next(each.key_usage for each in services.protocols if each.name == record.protocol)
    return [line.replace("{target}", target) for line in lines]


def _datasets_of(record: KeyRecord) -> list[str]:
    """Return the datasets that a key names; a destination is the name of its dataset."""
    return record.datasets or [record.dataset or record.destination or ""]


def _make_datasets(services: Services, grant: Grant, names: Sequence[str]) -> None:
    """Create the datasets that are missing, so that the first events are accepted."""
    missing = [name for name in names if name != EVERY_DATASET and not services.lake.has(name)]
    if missing:
        require(grant, capability="datasets", action="create")
    for name in missing:
        with suppress(DatasetExists):  # created meanwhile
            services.lake.create(name, who=grant.user_id, organisation=grant.organisation)


_OF_ONE_DATASET = next(each.name for each in PROTOCOLS if each.key and each.key.scope == "dataset")

ROUTES = (
    ApiRoute("GET", "/tailrace/v1/keys", list_keys, Permission("apiTokens", "read"), answer=list[KeyRecord]),
    ApiRoute(
        "POST",
        "/tailrace/v1/keys",
        create_key,
        Permission("apiTokens", "create"),
        audit=AuditAction("createKey", "key"),
        body=NewKey,
        example={"protocol": _OF_ONE_DATASET, "name": "shop", "dataset": "shop-api"},
        answer=CreatedKey,
        status=201,
        refusals=(404, 409),
    ),
    ApiRoute("GET", "/tailrace/v1/keys/{id}", get_key, Permission("apiTokens", "read"), answer=KeyRecord),
    ApiRoute(
        "DELETE",
        "/tailrace/v1/keys/{id}",
        delete_key,
        Permission("apiTokens", "delete"),
        audit=AuditAction("deleteKey", "key"),
        answer=None,
    ),
)
