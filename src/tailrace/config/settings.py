"""The settings: name, default, unit, bounds and meaning of each."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Struct

from tailrace.config.field import Bytes, Field, Networks, Seconds, Secret, Setting, Unit, options_of, settings_of

ENV_PREFIX = "TAILRACE_"
# Settings of earlier versions, and what to do instead.
REMOVED = {
    "access_url": "a server has one database now: name it by database_url, or leave both out and move a file that "
    "access_url named to access.db in the data directory, which is imported at the start",
    "upkeep_every_s": "it is maintenance_every_s now",
}
MIB = 1024**2
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The effective settings of a server.

    Building one reads no file and no environment; `tailrace.config.load` does, and tells the origin of each.
    """

    data: Path = Field(
        default=Path("tailrace-data"),
        description="Directory of the log, the tables and the database; made if missing.",
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; `0.0.0.0` for every IPv4 one."
    )
    port: int = Field(default=8080, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one.")
    database_url: Annotated[str, Secret("a URL such as postgresql+psycopg://user:password@host/name")] = Field(
        default="",
        pattern=r"^(postgresql\+psycopg://.+)?$",
        repr=False,
        description="Database of users, tokens, dashboards, monitors and all else that is no event, on PostgreSQL: "
        "`postgresql+psycopg://…`; if empty, it is the file `tailrace.db` in the data directory.",
    )
    root_token: Annotated[str, Secret("xapt- followed by printable ASCII without spaces")] = Field(
        default="",
        pattern=r"^(xapt-[!-~]+)?$",
        repr=False,
        description="Secret of the owner's personal token, `xapt-…`; if empty, the first start makes one.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe message of the server's own log that is written."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How the server's own log is written: as text, or as a JSON object a line."
    )
    request_log: Literal["off", "refused", "all"] = Field(
        default="refused",
        description="Which requests are written to the server's log: none, those refused (the same one again once a "
        "minute, with how often it came), every one.",
    )
    trusted_proxies: Networks = Field(
        default=(),
        description="Addresses and networks of the reverse proxies that are believed about whom a request is from, by "
        "`X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`, or `Forwarded`.",
    )
    shutdown_grace_s: Seconds = Field(
        default=20.0,
        ge=0,
        le=3600,
        description="Time for requests in flight to be answered when the server is told to stop.",
    )

    max_body_bytes: Bytes = Field(
        default=64 * MIB,
        ge=1024,
        le=GIB,
        description="Largest request body after its content encoding is undone.",
    )
    max_wire_bytes: Bytes = Field(default=64 * MIB, ge=1024, le=GIB, description="Largest request body as sent.")
    body_timeout_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=86400,
        description="Longest time in which nothing of a request's body comes, and the time that 500 bytes a second are "
        "not asked of it. Past it, 408.",
    )
    receive_backlog_bytes: Bytes = Field(
        default=512 * MIB,
        ge=MIB,
        description="Most bytes of bodies in memory, complete or not, whose requests are not answered yet; beyond, a "
        "request that brings more is refused with 429.",
    )
    answer_timeout_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=86400,
        description="Longest time in which a client takes nothing of an answer of more than 64 KiB. Past it, it is "
        "broken off and the connection closed.",
    )
    answer_backlog_bytes: Bytes = Field(
        default=GIB,
        ge=MIB,
        description="Most bytes of answers in memory that their clients have not read yet; beyond, those are broken "
        "off that have been on their way longest.",
    )
    max_events: Annotated[int, Unit.EVENTS] = Field(
        default=100_000, ge=1, le=10_000_000, description="Most events in one request."
    )
    max_event_bytes: Bytes = Field(default=16 * MIB, ge=1024, le=GIB, description="Largest single event, as JSON.")
    max_string_bytes: Bytes = Field(
        default=1_000_000,
        ge=16,
        le=GIB,
        description="Longest text value; a longer one is replaced, its event is kept.",
    )
    max_name_bytes: Bytes = Field(
        default=200,
        ge=1,
        le=64 * 1024,
        description="Longest field name; an event with a longer one is refused.",
    )
    max_depth: Annotated[int, Unit.LEVELS] = Field(
        default=100, ge=1, le=500, description="Deepest nesting of an event; what lies deeper becomes null."
    )

    log_segment_bytes: Bytes = Field(
        default=64 * MIB,
        ge=64 * 1024,
        le=16 * GIB,
        description="Size at which the log starts its next segment file.",
    )
    log_min_free_bytes: Bytes = Field(
        default=512 * MIB,
        ge=0,
        description="Free disk space below which ingest is refused with 503, until there is 1.1 times as much.",
    )
    log_max_queued_bytes: Bytes = Field(
        default=128 * MIB,
        ge=MIB,
        description="Most bytes waiting to be written to the log; beyond, ingest is refused with 429.",
    )

    commit_bytes: Bytes = Field(
        default=64 * MIB,
        ge=64 * 1024,
        le=16 * GIB,
        description="Events not yet in a table that start a commit of their dataset.",
    )
    commit_age_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=86400,
        description="Age of the oldest event not yet in a table that starts a commit.",
    )
    shred_backlog_bytes: Bytes = Field(
        default=256 * MIB,
        ge=MIB,
        description="Most acknowledged bytes waiting to become columns; beyond, ingest is refused with 429.",
    )
    columns_per_dataset: Annotated[int, Unit.COLUMNS] = Field(
        default=256,
        ge=1,
        le=10_000,
        description="Most columns of one table; further fields are kept together in `_rest`.",
    )
    column_density: Annotated[float, Unit.SHARE] = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Share of recent events that must have a field for it to earn a column.",
    )
    max_datasets: Annotated[int, Unit.DATASETS] = Field(default=10_000, ge=1, description="Most datasets.")

    compact_files: Annotated[int, Unit.FILES] = Field(
        default=16,
        ge=0,
        le=10_000,
        description="Files of one day and of about the same size that are made one; 0 turns compaction off.",
    )
    compact_bytes: Bytes = Field(
        default=128 * MIB,
        ge=64 * 1024,
        le=16 * GIB,
        description="Size of a file that compaction leaves as it is; it makes none larger.",
    )
    verify_bytes_per_s: Bytes = Field(
        default=MIB,
        ge=0,
        description="Bytes of tables' files read a second to see whether they are as they were written; 0 for none.",
    )
    compact_bytes_per_s: Bytes = Field(
        default=32 * MIB, ge=64 * 1024, description="Most bytes a second that compaction writes."
    )
    maintenance_every_s: Seconds = Field(
        default=60.0,
        gt=0,
        le=86400,
        description="Time between two rounds of compaction, retention and removal of old files.",
    )
    keep_removed_s: Seconds = Field(
        default=3600.0,
        ge=0,
        le=365 * 86_400,
        description="Time that a file stays on disk once it is no part of its table, for engines that read the table "
        "as it was; at least 4 times `query_timeout_s`.",
    )

    query_timeout_s: Seconds = Field(
        default=30.0,
        gt=0,
        le=86400,
        description="Longest time from the arrival of a query to its answer, waiting for its turn included.",
    )
    query_memory_bytes: Bytes = Field(
        default=2 * GIB,
        ge=64 * MIB,
        description="Most memory for all running queries together; each runs in a process of its own, which has no "
        "more than this. A query that needs more ends with 422.",
    )
    query_max_rows: Annotated[int, Unit.ROWS] = Field(
        default=1_000_000, ge=1, description="Most rows in the answer of a query."
    )
    query_max_bytes: Bytes = Field(
        default=256 * MIB, ge=MIB, description="Most bytes in the answer of a query, as columns in memory."
    )
    query_max_cells: Annotated[int, Unit.VALUES] = Field(
        default=20_000_000,
        ge=1000,
        description="Most values, nulls too, in an APL answer of whole events: its rows by their fields.",
    )
    query_threads: Annotated[int, Unit.THREADS] = Field(
        default=0, ge=0, le=1024, description="Threads that run queries; 0 takes one a core."
    )
    query_concurrency: Annotated[int, Unit.QUERIES] = Field(
        default=4, ge=1, le=1024, description="Queries that run at the same time; further ones wait."
    )
    query_queue: Annotated[int, Unit.QUERIES] = Field(
        default=64,
        ge=0,
        le=10_000,
        description="Queries that wait for their turn, each for `query_timeout_s` at most, its run included; further "
        "ones are refused with 429.",
    )
    query_concurrency_per_token: Annotated[int, Unit.QUERIES] = Field(
        default=32,
        ge=1,
        le=10_000,
        description="Queries that one token may have running or waiting; further ones are refused with 429.",
    )

    model_prices: str = Field(
        default="",
        description="File (TOML or JSON) of the prices of language models in US dollars a million tokens, "
        '`{"model": {"input": 2.5, "output": 10}}`, for the functions `genai_…`; if empty, they answer null.',
    )
    geo_database: str = Field(
        default="",
        description="MaxMind database file (`.mmdb`) for `geo_info_from_ip_address()`, which needs "
        "`pip install tailrace[geo]`; if empty, it answers null.",
    )
    monitor_concurrency: Annotated[int, Unit.MONITORS] = Field(
        default=2, ge=1, le=64, description="Monitors that run at the same time; further ones wait."
    )
    outgoing_private: bool = Field(
        default=False,
        description="Let notifiers call addresses that are not public: of this machine, of private networks.",
    )
    outgoing_timeout_s: Seconds = Field(
        default=10.0, gt=0, le=300, description="Longest call of a notifier, from connecting to the answer."
    )
    smtp_host: str = Field(
        default="", description="Mail server that email notifiers hand their mail to; if empty, they deliver nothing."
    )
    smtp_port: int = Field(default=587, ge=1, le=65535, description="TCP port of the mail server.")
    smtp_security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="How the connection to the mail server is protected: by STARTTLS, by TLS from its beginning, not.",
    )
    smtp_user: str = Field(default="", description="User name at the mail server; if empty, there is no login.")
    smtp_password: Annotated[str, Secret("any text")] = Field(
        default="", repr=False, description="Password at the mail server."
    )
    smtp_from: str = Field(
        default="tailrace@localhost", min_length=3, description="Address that mails of notifiers are from."
    )

    tail_readers: Annotated[int, Unit.READERS] = Field(
        default=256, ge=0, le=2048, description="Readers of live tails; further ones are refused with 429."
    )
    tail_readers_per_token: Annotated[int, Unit.READERS] = Field(
        default=16,
        ge=1,
        le=2048,
        description="Readers of live tails that one token may have; further ones are refused with 429.",
    )
    tail_queue_bytes: Bytes = Field(
        default=16 * MIB,
        ge=64 * 1024,
        description="Most events that wait for one reader of a live tail; what comes beyond them it is told it missed.",
    )
    tail_heartbeat_s: Seconds = Field(
        default=15.0, gt=0, le=30, description="Time without an event after which a live tail sends a comment."
    )

    sections: Mapping[str, Any] = dataclasses.field(default_factory=dict, metadata={})  # options of other packages

    def value(self, name: str, schema: "Schema | None" = None) -> object:
        """Return the value of the setting `name`, be it of the server's own or of a section of the schema."""
        section, option = (schema or OWN).place(name)
        return getattr(self.sections[section] if section else self, option)


SETTINGS: Mapping[str, Setting] = settings_of(Settings)


class Schema:
    """Every setting: the server's own, and those of sections, structs of options that other packages declare.

    The name of an option is that of its section, `_`, and that of the field.
    """

    def __init__(self, sections: Mapping[str, type[Struct]] | None = None) -> None:
        self.sections = dict(sections or {})
        self.settings: dict[str, Setting] = dict(SETTINGS)
        self._places = {name: ("", name) for name in SETTINGS}
        for section, owner in self.sections.items():
            for option, setting in options_of(owner).items():
                name = f"{section}_{option}"
                if name in self.settings:
                    raise ValueError(f"two settings are called {name}")
                self.settings[name] = setting
                self._places[name] = (section, option)

    def place(self, name: str) -> tuple[str, str]:
        """Return the section of a setting, empty for one of the server's own, and its name there."""
        return self._places[name]

    def build(self, values: Mapping[str, Any]) -> Settings:
        """Return the settings of checked values by name; of what is not among them the default."""
        own: dict[str, Any] = {}
        sections: dict[str, dict[str, Any]] = {name: {} for name in self.sections}
        for name, value in values.items():
            section, option = self._places[name]
            (sections[section] if section else own)[option] = value
        return Settings(**own, sections={name: self.sections[name](**given) for name, given in sections.items()})


OWN = Schema()


def environment_variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return ENV_PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command line flag of the setting `name`."""
    return "--" + name.replace("_", "-")
