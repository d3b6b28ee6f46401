"""The settings of queries: what one may take, how many there may be, and the files that functions read."""

from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.sizes import GIB, MIB


class QueryLimits(Struct, frozen=True):
    """Limits on the queries of an engine; a refusal names the limit and its value."""

    timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86400,
            description="Longest time from the arrival of a query to its answer, waiting for its turn included.",
        ),
    ] = 30.0
    memory_bytes: Annotated[
        int,
        Meta(
            ge=64 * MIB,
            description="Most memory for all running queries together; each runs in a process of its own, which has "
            "no more than this. A query that needs more ends with 422.",
        ),
    ] = 2 * GIB
    max_rows: Annotated[int, Meta(ge=1, description="Most rows in the answer of a query.", extra={"unit": "rows"})] = (
        1_000_000
    )
    max_bytes: Annotated[
        int, Meta(ge=MIB, description="Most bytes in the answer of a query, as columns in memory.")
    ] = 256 * MIB
    max_cells: Annotated[
        int,
        Meta(
            ge=1000,
            description="Most values, nulls too, in an APL answer of whole events: its rows by their fields.",
            extra={"unit": "values"},
        ),
    ] = 20_000_000
    metadata_cache_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Most memory for what the footers of data files say of their row groups, by which queries "
            "count rows without reading them.",
        ),
    ] = 64 * MIB
    answer_cache_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Most memory for answers, which are given again to the same token for the same query over the "
            "same events; 0 keeps none. A request with `Cache-Control: no-cache` or `nocache=true` is answered anew.",
        ),
    ] = 64 * MIB
    threads: Annotated[
        int,
        Meta(ge=0, le=1024, description="Threads that run queries; 0 takes one a core.", extra={"unit": "threads"}),
    ] = 0
    concurrency: Annotated[
        int,
        Meta(
            ge=1,
            le=1024,
            description="Queries that run at the same time; further ones wait.",
            extra={"unit": "queries"},
        ),
    ] = 4
    queue: Annotated[
        int,
        Meta(
            ge=0,
            le=10_000,
            description="Queries that wait for their turn, each for `query_timeout_s` at most, its run included; "
            "further ones are refused with 429.",
            extra={"unit": "queries"},
        ),
    ] = 64
    concurrency_per_token: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="Queries that one token may have running or waiting; further ones are refused with 429.",
            extra={"unit": "queries"},
        ),
    ] = 32


class ReferenceFiles(Struct, frozen=True):
    """The files that functions read; empty for none."""

    model_prices: Annotated[
        str,
        Meta(
            description="File (TOML or JSON) of the prices of language models in US dollars a million tokens, "
            '`{"model": {"input": 2.5, "output": 10}}`, for the functions `genai_…`; if empty, they answer null.'
        ),
    ] = ""
    geo_database: Annotated[
        str,
        Meta(
            description="MaxMind database file (`.mmdb`) for `geo_info_from_ip_address()`, which needs "
            "`pip install tailrace[geo]`; if empty, it answers null."
        ),
    ] = ""
