"""The settings of a server: the sum of what its packages and protocols declare, each in a struct of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tailrace.access.console_settings import ConsoleSettings
from tailrace.config import NETWORKS, Schema
from tailrace.events.idempotency import IdempotencySettings
from tailrace.events.secrets import WithSecrets
from tailrace.events.sizes import GIB, MIB
from tailrace.fleet.settings import FleetSettings
from tailrace.lake.settings import LakeSettings
from tailrace.log.settings import LogSettings
from tailrace.monitors.settings import MonitorSettings
from tailrace.oidc.settings import OidcSettings
from tailrace.parsing.limits import Limits
from tailrace.protocols.http import Protocol
from tailrace.protocols.registry import PROTOCOLS, STREAM_DOORS
from tailrace.protocols.stream import StreamDoor
from tailrace.query.settings import QueryLimits, ReferenceFiles
from tailrace.query.spread.settings import SpreadSettings
from tailrace.server.flight_sql.settings import FlightSqlSettings
from tailrace.server.layout import DEFAULT_DATA
from tailrace.server.request_body import RequestBodyLimits
from tailrace.server.response_body import ResponseBodyLimits
from tailrace.server.streams.settings import StreamLimits
from tailrace.server.tls import TlsSettings
from tailrace.tail.settings import TailLimits

# Settings of earlier versions, and what to do instead.
REMOVED = {
    "access_url": "a server has one database now: name it by database_url, or leave both out and move a file that "
    "access_url named to access.db in the data directory, which is imported at the start",
    "upkeep_every_s": "it is maintenance_every_s now",
}
UNPREFIXED = Meta(extra={"prefix": ""})


class ServerSettings(WithSecrets, frozen=True):
    """Where a server is, who owns it, and what it says of its work."""

    data: Annotated[Path, Meta(description="Directory of the log, the tables and the database; made if missing.")] = (
        DEFAULT_DATA
    )
    storage: Annotated[
        str,
        Meta(
            description="Where the tables are: `s3://bucket/prefix` in an object store, whose endpoint, region and "
            "credentials are those of the `AWS_*` variables, or the path of a directory; if empty, `lake` in the data "
            "directory.",
        ),
    ] = ""
    cache_bytes: Annotated[
        int,
        Meta(
            ge=64 * MIB,
            description="Most bytes of files of an object store that `cache` in the data directory holds for queries, "
            "which read files there; those of one query, or of those that run together, must fit in.",
        ),
    ] = 16 * GIB
    host: Annotated[str, Meta(min_length=1, description="Address to listen on; `0.0.0.0` for every IPv4 one.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="TCP port to listen on; 0 takes any free one.")] = 8080
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Processes that take events in. With more than one, each has a log of its own, and the main "
            "process keeps tables and queries. Linux only.",
        ),
    ] = 1
    database_url: Annotated[
        str,
        Meta(
            pattern=r"^(postgresql\+psycopg://.+)?$",
            description="Database of users, tokens, dashboards, monitors and all else that is no event, on PostgreSQL: "
            "`postgresql+psycopg://…`; if empty, it is the file `tailrace.db` in the data directory.",
            extra={"secret": "a URL such as postgresql+psycopg://user:password@host/name"},
        ),
    ] = ""
    log: Annotated[
        str,
        Meta(
            pattern=r"^(s3://[^/]+(/.*)?)?$",
            description="Object store of the log, `s3://bucket/prefix`, with the endpoint, region and credentials of "
            "the environment (`AWS_…`); if empty, the log is the directory `log` in the data directory.",
        ),
    ] = ""
    root_token: Annotated[
        str,
        Meta(
            pattern=r"^(xapt-[!-~]+)?$",
            description="Secret of the owner's personal token, `xapt-…`; if empty, the first start makes one.",
            extra={"secret": "xapt- followed by printable ASCII without spaces"},
        ),
    ] = ""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="Least severe message of the server's own log that is written."),
    ] = "info"
    log_format: Annotated[
        Literal["text", "json"],
        Meta(description="How the server's own log is written: as text, or as a JSON object a line."),
    ] = "text"
    request_log: Annotated[
        Literal["off", "refused", "all"],
        Meta(
            description="Which requests are written to the server's log: none, those refused (the same one again once "
            "a minute, with how often it came), every one."
        ),
    ] = "refused"
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Addresses and networks of the reverse proxies that are believed about whom a request is from, "
            "by `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, or `Forwarded`.",
            extra={"unit": NETWORKS},
        ),
    ] = ()
    shutdown_grace_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Time for requests in flight to be answered when the server is told to stop.",
        ),
    ] = 20.0


class Settings(Struct, frozen=True, kw_only=True):
    """The effective settings of a server, by the part that they are handed to."""

    server: Annotated[ServerSettings, UNPREFIXED] = ServerSettings()
    tls: TlsSettings = TlsSettings()
    fleet: Annotated[FleetSettings, UNPREFIXED] = FleetSettings()
    request_body: Annotated[RequestBodyLimits, UNPREFIXED] = RequestBodyLimits()
    response_body: Annotated[ResponseBodyLimits, Meta(extra={"prefix": "answer_"})] = ResponseBodyLimits()
    parsing: Annotated[Limits, UNPREFIXED] = Limits()
    idempotency: IdempotencySettings = IdempotencySettings()
    log: LogSettings = LogSettings()
    lake: Annotated[LakeSettings, UNPREFIXED] = LakeSettings()
    query: QueryLimits = QueryLimits()
    spread: Annotated[SpreadSettings, UNPREFIXED] = SpreadSettings()
    flight_sql: FlightSqlSettings = FlightSqlSettings()
    reference: Annotated[ReferenceFiles, UNPREFIXED] = ReferenceFiles()
    monitors: Annotated[MonitorSettings, Meta(extra={"prefix": "monitor_"})] = MonitorSettings()
    tail: TailLimits = TailLimits()
    console: ConsoleSettings = ConsoleSettings()
    oidc: OidcSettings = OidcSettings()
    protocols: Mapping[str, Any] = {}  # by name: its options, and further host names
    streams: Annotated[StreamLimits, Meta(extra={"prefix": "stream_"})] = StreamLimits()
    doors: Mapping[str, Any] = {}  # for streams, by name: its options


def schema_of(protocols: Sequence[Protocol], doors: Sequence[StreamDoor] = STREAM_DOORS) -> Schema[Settings]:
    """Return the settings of a server with some protocols, and doors for streams."""
    defaults = Settings(
        protocols={protocol.name: _options(protocol) for protocol in protocols},
        doors={door.name: door.options() for door in doors},
    )
    return Schema(defaults, REMOVED)


def _options(protocol: Protocol) -> Struct:
    """Return the options of a protocol, and the host names that are its own; a door has none."""
    if protocol.is_door:
        return protocol.options()
    beside = ", beside the vendor's own" if protocol.hosts else ""
    about = f"Further host names whose requests are {protocol.title}'s{beside}."
    hosts = ("hosts", Annotated[tuple[str, ...], Meta(description=about)], ())
    return msgspec.defstruct(f"{protocol.title}Section", [hosts], bases=(protocol.options,), frozen=True)()


SCHEMA = schema_of(PROTOCOLS)
