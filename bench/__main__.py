"""`python -m bench`: what the server does of events, beside what the machine could do, measured in one run."""

import argparse
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from bench import clickhouse, limits, load, native, queries, servers, stream
from bench.generators import GENERATORS, Generator

AIM = 0.5  # of the limit
SEED = 1
BODY_BYTES = 1_000_000
BODY_CONNECTIONS = 4
EVENT_CONNECTIONS = 128
DISTINCT_EVENTS = 2000  # that single-event requests repeat
WARM_UP_S = 0.5
MAX_REST_SHARE = 0.2  # of the events, that may have fields without a column
FIGURES = ("ack", "through", "requests")
QUERIES, NATIVE, STREAM = "queries", "native", "stream"
UNITS = {"ack": "MB/s", "through": "MB/s", "requests": "requests/s"}
TITLES = {"ack": "acknowledged", "through": "through to Delta", "requests": "single events"}
LIMITS = {
    "ack": "decode + write + flush",
    "through": "shred + sort + Parquet",
    "requests": "empty handler",
}
LIBRARIES = ("granian", "msgspec", "duckdb", "pyarrow", "deltalake")
PAGE_WIDTH = 120  # of what is printed elsewhere than on a terminal
RESULTS = Path(__file__).parent / "results"


class Size(Struct, frozen=True):
    """How much is measured."""

    rounds: int
    bodies: int  # distinct
    sent_bodies: int  # less than `shred_backlog_bytes` of them, or the server would send some back
    event_seconds: float
    queried_events: int
    query_repeats: int


FULL = Size(rounds=3, bodies=60, sent_bodies=120, event_seconds=2.0, queried_events=1_000_000, query_repeats=20)
QUICK = Size(rounds=1, bodies=30, sent_bodies=30, event_seconds=1.0, queried_events=100_000, query_repeats=5)


class Figure(Struct, frozen=True):
    """One figure of one generator: the best of the rounds."""

    figure: str
    generator: str
    unit: str
    server: float
    limit: float
    ratio: float
    rounds: list[tuple[float, float]]  # server and limit


class Report(Struct, frozen=True):
    """One run."""

    time: str
    cores: int
    python: str
    libraries: dict[str, str]
    figures: list[Figure]
    queries: list[queries.Answered]
    native: list[native.Passes]
    streams: list[stream.Streamed]


Measured = dict[tuple[str, str], list[tuple[float, float]]]  # by figure and generator: server and limit of each round


def main() -> None:
    """Measure what the command line asks for and print it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, under 30 s")
    parser.add_argument(
        "--only", choices=(*FIGURES, NATIVE, STREAM, QUERIES), action="append", help="this figure only; may be repeated"
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path("/var/tmp"),
        help="where data is written, on the disk to be measured (default: %(default)s)",
    )
    parser.add_argument(
        "--beside", choices=("clickhouse",), help="ask this engine the queries, too; it needs `pip install chdb`"
    )
    options = parser.parse_args()
    if options.beside and not clickhouse.is_installed():
        parser.error("--beside clickhouse needs `pip install chdb`")
    wanted = tuple(figure for figure in FIGURES if not options.only or figure in options.only)
    console = Console()
    if not console.is_terminal:
        console = Console(width=PAGE_WIDTH)
    measured: Measured = defaultdict(list)
    size = QUICK if options.quick else FULL
    answered: list[queries.Answered] = []
    passes: list[native.Passes] = []
    streams: dict[str, list[stream.Streamed]] = defaultdict(list)
    is_streamed = not options.only or STREAM in options.only
    with console.status("making events") as status:
        bodies = {
            generator: generator.bodies(SEED, count=size.bodies, body_bytes=BODY_BYTES)
            for generator in GENERATORS
            if wanted or is_streamed
        }
        if not options.only or NATIVE in options.only:
            passes = native.measure(size.rounds, status.update)
        for round_number in range(1, size.rounds + 1 if bodies else 1):
            for generator in GENERATORS:
                status.update(f"round {round_number} of {size.rounds}: {generator.name}")
                sent = [bodies[generator][number % size.bodies] for number in range(size.sent_bodies)]
                with servers.directory_in(options.directory) as directory:
                    for figure, rates in _measure(generator, sent, size, directory, wanted).items():
                        measured[figure, generator.name].append(rates)
                if is_streamed:
                    with servers.directory_in(options.directory) as directory:
                        streams[generator.name].append(stream.measure(generator, sent, directory))
        if not options.only or QUERIES in options.only:
            with servers.directory_in(options.directory) as directory:
                answered = queries.measure(
                    SEED,
                    directory,
                    events=size.queried_events,
                    repeats=size.query_repeats,
                    said=status.update,
                    beside=clickhouse.measure if options.beside else None,
                )
    report = _report(measured, answered, passes, [stream.best(rounds) for rounds in streams.values()])
    if measured:
        _print(console, report, size)
    if passes:
        _print_passes(console, report)
    if streams:
        _print_streams(console, report)
    if answered:
        _print_queries(console, report, size)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_bytes(msgspec.json.encode(report) + b"\n")


def _measure(
    generator: Generator, bodies: Sequence[bytes], size: Size, directory: Path, wanted: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """Return server and limit of each figure, each pair measured close together."""
    rates = {}
    if "ack" in wanted or "through" in wanted:
        flushed = limits.decode_and_flush(bodies, directory / "flushed") if "ack" in wanted else 0.0
        written = 0.0
        if "through" in wanted:
            written = limits.shred_and_write(limits.batches_of(generator, bodies), directory / "written")
        acknowledged, through = _stream(generator, bodies, directory / "streamed", until_committed="through" in wanted)
        if "ack" in wanted:
            rates["ack"] = (acknowledged / 1e6, flushed / 1e6)
        if "through" in wanted:
            rates["through"] = (through / 1e6, written / 1e6)
    if "requests" in wanted:
        rates["requests"] = _single_events(generator, directory / "single", size.event_seconds)
    return rates


def _stream(generator: Generator, bodies: Sequence[bytes], data: Path, *, until_committed: bool) -> tuple[float, float]:
    """Return bytes a second that a server acknowledged, and that it committed when asked to (else 0).

    Both count from the first byte sent: to the last answer, and to the last commit of the dataset's table.
    """
    with servers.tailrace(data) as server:
        server.create(generator.dataset)
        requests = [server.ingest_request(generator, body) for body in bodies]
        began = time.time()
        done = load.run_once(server.address, requests, connections=BODY_CONNECTIONS)
        acknowledged = done.body_bytes / done.elapsed_s
        if not until_committed:
            return acknowledged, 0.0
        server.stop()
    table = data / "lake" / generator.dataset
    committed = max(entry.stat().st_mtime for entry in (table / "_delta_log").glob("*.json"))
    events = sum(body.count(b"\n") for body in bodies)
    files = pa.table(DeltaTable(table).get_add_actions(flatten=True))
    stored = pc.sum(files["num_records"]).as_py()
    if events != stored:
        raise RuntimeError(f"{events} events were acknowledged, {stored} are in the table")
    # Events that shredding failed on are kept whole there: a rate of those would say nothing.
    with_rest = pc.sum(pc.subtract(files["num_records"], files["null_count._rest"])).as_py() or 0
    if with_rest > MAX_REST_SHARE * events:
        raise RuntimeError(f"{with_rest} of {events} events are not in columns")
    return acknowledged, done.body_bytes / (committed - began)


def _single_events(generator: Generator, data: Path, seconds: float) -> tuple[float, float]:
    """Return single-event requests a second: of the server, and of an empty handler for the same requests."""
    events = list(islice(generator.events(SEED), DISTINCT_EVENTS))
    with servers.tailrace(data) as server, servers.empty() as (empty, _):
        server.create(generator.dataset)
        requests = [server.ingest_request(generator, event) for event in events]
        rates = []
        for address in (server.address, empty):
            load.run(address, requests, connections=EVENT_CONNECTIONS, seconds=WARM_UP_S)
            done = load.run(address, requests, connections=EVENT_CONNECTIONS, seconds=seconds)
            done.check()
            rates.append(done.per_second)
        return rates[0], rates[1]


def _report(
    measured: Measured,
    answered: list[queries.Answered],
    passes: list[native.Passes],
    streams: list[stream.Streamed],
) -> Report:
    figures = []
    for (figure, generator), rounds in measured.items():
        server, limit = max(rate for rate, _ in rounds), max(rate for _, rate in rounds)
        figures.append(Figure(figure, generator, UNITS[figure], server, limit, server / limit, rounds))
    return Report(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        figures=sorted(figures, key=lambda each: FIGURES.index(each.figure)),
        queries=answered,
        native=passes,
        streams=streams,
    )


def _print(console: Console, report: Report, size: Size) -> None:
    table = Table(title=f"best of {size.rounds}, {report.cores} cores")
    for heading in ("figure", "events"):
        table.add_column(heading)
    for heading in ("server", "limit", "unit", "ratio", "aim"):
        table.add_column(heading, justify="left" if heading == "unit" else "right")
    table.add_column("the limit is")
    for each in report.figures:
        style = "green" if each.ratio >= AIM else "red"
        table.add_row(
            TITLES[each.figure],
            each.generator,
            f"{each.server:,.0f}",
            f"{each.limit:,.0f}",
            each.unit,
            f"[{style}]{each.ratio:.2f}[/]",
            f"{AIM:.2f}",
            LIMITS[each.figure],
        )
    console.print(table)


def _print_passes(console: Console, report: Report) -> None:
    table = Table(
        title=f"native passes, MB a CPU second; aims: {native.SHRED_AIM} of raw, {native.WORST_AIM:.0f} of worst"
    )
    table.add_column("lines", no_wrap=True)
    for heading in ("msgspec, raw", "scan", "ratio", "shred", "ratio"):
        table.add_column(heading, justify="right")
    for each in report.native:
        style = "green" if each.is_met else "red"
        rates = f"{each.raw:,.0f}", f"{each.scan:,.0f}", f"{each.scan / each.raw:.2f}"
        table.add_row(each.name, *rates, f"[{style}]{each.shred:,.0f}[/]", f"[{style}]{each.shred / each.raw:.2f}[/]")
    console.print(table)


def _print_streams(console: Console, report: Report) -> None:
    table = Table(title="from the socket to the commit")
    table.add_column("figure")
    for each in report.streams:
        table.add_column(each.generator, justify="right")
    rows = {
        "CPU ms a MB": [f"{each.cpu_ms_per_mb:.1f}" for each in report.streams],
        **{
            f"  of it {name}": [f"{each.split.get(name, 0.0):.1f}" for each in report.streams]
            for name in dict.fromkeys(name for each in report.streams for name in each.split)
        },
        f"event loop late, p99 ms (aim {stream.DELAY_AIM_MS:g})": [
            f"[{'green' if each.delay_p99_ms <= stream.DELAY_AIM_MS else 'red'}]{each.delay_p99_ms:.1f}[/]"
            for each in report.streams
        ],
        "event loop late, most ms": [f"{each.delay_max_ms:.1f}" for each in report.streams],
        "peak memory, MB": [f"{each.peak_mb:.0f}" for each in report.streams],
        "bytes an event, stored": [f"{each.bytes_per_event:.0f}" for each in report.streams],
        "bytes an event, sent": [f"{each.sent_bytes_per_event:.0f}" for each in report.streams],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    console.print(table)


def _print_queries(console: Console, report: Report, size: Size) -> None:
    title = f"queries of {size.queried_events:,} events, best of {size.query_repeats}, {report.cores} cores"
    table = Table(title=title)
    table.add_column("query", no_wrap=True)
    has_other = any(each.beside_ms is not None for each in report.queries)
    for heading in ("HTTP ms", "DuckDB", "ratio", "aim", "compile", "files read", "rows"):
        table.add_column(heading, justify="right")
    if has_other:
        table.add_column("ClickHouse", justify="right")
    for each in report.queries:
        style = "green" if each.server_ms <= each.aim_ms else "red"
        compile_style = "green" if each.compile_ms <= queries.COMPILE_AIM_MS else "red"
        table.add_row(
            each.name,
            f"[{style}]{each.server_ms:.1f}[/]",
            f"{each.limit_ms:.1f}",
            f"{each.ratio:.2f}",
            f"{each.aim_ms:.1f}",
            f"[{compile_style}]{each.compile_ms:.1f}[/]",
            f"{each.blocks_read} of {each.blocks_examined}",
            f"{each.rows_examined:,}",
            *([f"{each.beside_ms:.1f}" if each.beside_ms is not None else ""] if has_other else []),
        )
    console.print(table)


if __name__ == "__main__":
    main()
    # DuckDB's bindings would list on the way out what they still hold, a screen of it, below the figures.
    sys.stdout.flush()
    os._exit(0)
