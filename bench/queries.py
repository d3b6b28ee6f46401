"""APL over HTTP beside the same questions in SQL, asked of DuckDB over one clustered file of the same events."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable
from msgspec import Struct
from msgspec.structs import replace

from bench import servers
from bench.generators import BLUESKY
from tailrace.lake import Lake, LakeSettings
from tailrace.query import AplRequest
from tailrace.query.run import sql_of

RATIO_AIM = 1.2  # times what DuckDB takes
HTTP_AIM_MS = 3.0  # and this much more
CLUSTERED_BY = ("kind", "commit.operation", "commit.collection", "_time")  # the rows of the one file
GROUP_ROWS = 30_000
COMPACTING = ("--compact-files=2", "--maintenance-every-s=0.5", "--compact-bytes-per-s=1GiB")
COMPACTED_POLLS = 10  # without a change of the files
POLL_S = 0.5
COMPACT_TIMEOUT_S = 120.0
COMPILE_AIM_MS = 2.0
EVENTS_PER_BODY = 2_000
DATASET = BLUESKY.dataset
RETRY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)

Row = tuple[Any, ...]


class Question(Struct, frozen=True):
    """The same in both languages. The SQL names the file's rows `events`; `{rare}` is what `rare_text` returns."""

    name: str
    apl: str  # after the dataset
    sql: str

    @property
    def whole(self) -> str:
        return f"['{DATASET}'] {self.apl}"

    def about(self, rare: str) -> "Question":
        """Return the question with a text that few events have."""
        return Question(self.name, self.apl.replace("{rare}", rare), self.sql.replace("{rare}", rare))


CREATED = "kind == 'commit' and ['commit.operation'] == 'create'"
CREATED_SQL = """kind = 'commit' AND "commit.operation" = 'create'"""
POST = "['commit.collection'] == 'app.bsky.feed.post'"
POST_SQL = """"commit.collection" = 'app.bsky.feed.post'"""
FEED = "'app.bsky.feed.post', 'app.bsky.feed.repost', 'app.bsky.feed.like'"

QUESTIONS = (
    Question(
        "1 events by collection",
        "| summarize n = count() by event = ['commit.collection'] | order by n desc",
        'SELECT "commit.collection" AS event, count(*) AS n FROM events GROUP BY event ORDER BY n DESC',
    ),
    Question(
        "2 users by collection",
        f"| where {CREATED} | summarize n = count(), users = dcount(did) by event = ['commit.collection']"
        " | order by n desc",
        'SELECT "commit.collection" AS event, count(*) AS n, count(DISTINCT did) AS users'
        f" FROM events WHERE {CREATED_SQL} GROUP BY event ORDER BY n DESC",
    ),
    Question(
        "3 collections by hour",
        f"| where {CREATED} and ['commit.collection'] in ({FEED})"
        " | summarize n = count() by event = ['commit.collection'], hour = hourofday(_time)"
        " | order by hour asc, event asc",
        'SELECT "commit.collection" AS event, hour(_time) AS hour, count(*) AS n FROM events'
        f' WHERE {CREATED_SQL} AND "commit.collection" IN ({FEED}) GROUP BY event, hour ORDER BY hour, event',
    ),
    Question(
        "4 first posts",
        f"| where {CREATED} and {POST} | summarize first = min(_time) by did | top 3 by first asc",
        f"SELECT did, min(_time) AS first FROM events WHERE {CREATED_SQL} AND {POST_SQL}"
        " GROUP BY did ORDER BY first LIMIT 3",
    ),
    Question(
        "5 longest activity",
        f"| where {CREATED} and {POST} | summarize first = min(_time), last = max(_time) by did"
        " | project did, span = datetime_diff('millisecond', last, first) | top 3 by span desc",
        "SELECT did, date_sub('millisecond', min(_time), max(_time)) AS span FROM events"
        f" WHERE {CREATED_SQL} AND {POST_SQL} GROUP BY did ORDER BY span DESC LIMIT 3",
    ),
    Question(
        "a substring",
        "| where ['commit.record.text'] contains_cs 'offee' | count",
        """SELECT count(*) FROM events WHERE contains("commit.record.text", 'offee')""",
    ),
    Question(
        "a rare substring",
        "| where ['commit.cid'] contains_cs '{rare}' | count",
        """SELECT count(*) FROM events WHERE contains("commit.cid", '{rare}')""",
    ),
    Question("count", "| count", "SELECT count(*) FROM events"),
    Question(
        "first and last time",
        "| summarize first = min(_time), last = max(_time)",
        "SELECT min(_time) AS first, max(_time) AS last FROM events",
    ),
    Question(
        "latest 100",
        "| limit 100 | project _time, did, kind, ['commit.collection']",
        'SELECT _time, did, kind, "commit.collection" FROM events ORDER BY _time DESC LIMIT 100',
    ),
    Question(
        "subject of two types",
        "| where ['commit.record.subject'] startswith 'did:plc:a' | summarize n = count() by kind",
        "SELECT kind, count(*) AS n FROM events WHERE \"commit.record.subject\" ILIKE 'did:plc:a%' GROUP BY kind",
    ),
)


# An engine beside: over a file of NDJSON with so many events; how often each question is asked, and the rare text.
Beside = Callable[[Path, int, int, str], Mapping[str, float]]


class Answered(Struct, frozen=True):
    """One question: milliseconds, the best of all, and what the server says it read."""

    name: str
    server_ms: float
    limit_ms: float
    ratio: float
    aim_ms: float
    server_median_ms: float
    limit_median_ms: float
    rows_examined: int
    blocks_examined: int
    blocks_read: int
    compile_ms: float  # parse, compile and render
    beside_ms: float | None = None  # what another engine takes, where one was asked


def measure(
    seed: int,
    directory: Path,
    *,
    events: int,
    repeats: int,
    said: Callable[[str], None],
    beside: Beside | None = None,
) -> list[Answered]:
    """Answer of a server with default settings, restarted since the events were compacted, and of DuckDB, in turn.

    `beside` returns what another engine takes for each question. Raise RuntimeError where the answers of the first
    two differ.
    """
    rare = rare_text(seed, events)
    questions = [question.about(rare) for question in QUESTIONS]
    data = directory / "queried"
    said(f"{events:,} events for queries")
    with servers.tailrace(data) as server:
        fill(server, seed, events)
        server.stop()
    said("compaction")
    _compact(data)
    said("one file of them")
    file = _one_file(data / "lake" / DATASET, directory / "one.parquet")
    compile_ms = _compile_ms(data / "lake", questions, repeats)
    others: Mapping[str, float] = {}
    if beside is not None:
        said("another engine")
        lines = directory / "events.ndjson"
        lines.write_bytes(b"\n".join(_bodies(seed, events)) + b"\n")
        others = beside(lines, events, repeats, rare)
        lines.unlink()
    answered = []
    with servers.tailrace(data) as server, client_of(server) as client, duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        path = str(file).replace("'", "''")
        connection.execute(f"CREATE VIEW events AS FROM read_parquet('{path}')")
        for question in questions:
            said(f"query: {question.name}")
            found = _compared(question, client, connection, repeats, compile_ms[question.name])
            answered.append(replace(found, beside_ms=others.get(question.name)))
    return answered


def rare_text(seed: int, events: int) -> str:
    """Return a part of the identifier of the event in the middle."""
    middle = next(islice(BLUESKY.events(seed), events // 2, None))
    return middle.rpartition(b'"cid":"')[2][20:32].decode()


def _compact(data: Path) -> None:
    """Have a server make the files of the table what they will be once it was quiet for a while."""
    table, deadline = data / "lake" / DATASET, time.monotonic() + COMPACT_TIMEOUT_S
    with servers.tailrace(data, options=COMPACTING) as server:
        versions = [0]
        while len(versions) <= COMPACTED_POLLS or len(set(versions[-COMPACTED_POLLS:])) > 1:
            if time.monotonic() > deadline:
                raise RuntimeError(f"compaction took more than {COMPACT_TIMEOUT_S:g} s")
            time.sleep(POLL_S)
            versions.append(len(list((table / "_delta_log").glob("*.json"))))
        server.stop()


def fill(server: servers.Tailrace, seed: int, events: int) -> None:
    """Make the dataset that the questions are about."""
    server.create(DATASET)
    with client_of(server) as client:
        for body in _bodies(seed, events):
            send(client, f"/v1/datasets/{DATASET}/ingest?timestamp-field={BLUESKY.time_field}", body)


def _compared(
    question: Question, client: httpx.Client, connection: duckdb.DuckDBPyConnection, repeats: int, compile_ms: float
) -> Answered:
    status, rows = _asked(client, question.whole)
    expected = _rows(connection.sql(question.sql).to_arrow_table())
    if rows != expected:
        raise RuntimeError(f"{question.name}: the server answers {rows[:5]}, DuckDB {expected[:5]}")
    server, limit = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        post(client, question.whole)
        between = time.perf_counter()
        connection.sql(question.sql).to_arrow_table()
        ended = time.perf_counter()
        server.append((between - began) * 1e3)
        limit.append((ended - between) * 1e3)
    best, least = min(server), min(limit)
    return Answered(
        question.name,
        best,
        least,
        best / least,
        RATIO_AIM * least + HTTP_AIM_MS,
        median(server),
        median(limit),
        status["rowsExamined"],
        status["blocksExamined"],
        status["blocksMatched"],
        compile_ms,
    )


def _compile_ms(lake_root: Path, questions: Sequence[Question], repeats: int) -> dict[str, float]:
    """Return the best time of parsing, compiling and rendering each question, in this process."""
    lake = Lake.open(lake_root, LakeSettings())
    try:
        snapshot = lake.snapshot(DATASET)
        found = {}
        for question in questions:
            times = []
            for _ in range(max(repeats, 5)):
                began = time.perf_counter()
                sql_of(AplRequest(apl=question.whole), lambda name: snapshot, lambda: (DATASET,))
                times.append((time.perf_counter() - began) * 1e3)
            found[question.name] = min(times)
        return found
    finally:
        lake.close()


def client_of(server: servers.Tailrace) -> httpx.Client:
    """Return a client with the owner's token."""
    return httpx.Client(
        base_url=f"http://{server.address[0]}:{server.address[1]}",
        headers={"Authorization": f"Bearer {server.token}", "Cache-Control": "no-cache"},
        trust_env=False,
        timeout=60,
    )


def _bodies(seed: int, events: int) -> Iterator[bytes]:
    source = islice(BLUESKY.events(seed), events)
    while lines := list(islice(source, EVENTS_PER_BODY)):
        yield b"\n".join(lines)


def send(client: httpx.Client, path: str, body: bytes) -> None:
    """Send a body of NDJSON, again as long as the server asks for that; raise HTTPStatusError where it is refused."""
    while True:
        answer = client.post(path, content=body, headers={"Content-Type": "application/x-ndjson"})
        if answer.status_code not in RETRY:
            answer.raise_for_status()
            return
        time.sleep(float(answer.headers.get("retry-after", "1")))


def _one_file(table: Path, file: Path) -> Path:
    """Write all events of a table as one file, clustered by hand for the questions."""
    rows = DeltaTable(table).to_pyarrow_table().sort_by([(name, "ascending") for name in CLUSTERED_BY])
    pq.write_table(rows, file, compression="zstd", row_group_size=GROUP_ROWS)
    return file


def post(client: httpx.Client, apl: str) -> bytes:
    """Return the answer to a query; raise RuntimeError for an error."""
    answer = client.post("/v1/datasets/_apl?format=tabular-rows", json={"apl": apl})
    if answer.status_code != httpx.codes.OK:
        raise RuntimeError(f"{apl}: {answer.status_code} {answer.text}")
    return answer.content


def _asked(client: httpx.Client, apl: str) -> tuple[dict[str, Any], list[Row]]:
    answer = json.loads(post(client, apl))
    table = answer["tables"][0]
    times = [field["type"] == "datetime" for field in table["fields"]]
    rows = [
        tuple(_moment(cell) if is_time else cell for cell, is_time in zip(row, times, strict=True))
        for row in table["rows"]
    ]
    return answer["status"], rows


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _rows(table: pa.Table) -> list[Row]:
    return [tuple(row.values()) for row in table.to_pylist()]
