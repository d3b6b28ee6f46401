"""The questions about Bluesky-like events asked of ClickHouse, in this process, where `chdb` is installed."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.queries import FEED

# Ordered by hand for these questions. What has no text is empty: nulls would cost.
TABLE = """
CREATE TABLE events (
    at DateTime64(6, 'UTC'), did String, kind LowCardinality(String), operation LowCardinality(String),
    collection LowCardinality(String), text String, cid String, subject String
) ENGINE = MergeTree ORDER BY (kind, operation, collection, did, at)
"""
FILL = """
INSERT INTO events SELECT
    fromUnixTimestamp64Micro(JSONExtractInt(line, 'time_us')), JSONExtractString(line, 'did'),
    JSONExtractString(line, 'kind'), JSONExtractString(line, 'commit', 'operation'),
    JSONExtractString(line, 'commit', 'collection'), JSONExtractString(line, 'commit', 'record', 'text'),
    JSONExtractString(line, 'commit', 'cid'), JSONExtractString(line, 'commit', 'record', 'subject')
FROM file('{file}', 'LineAsString', 'line String')
"""
CREATED = "kind = 'commit' AND operation = 'create'"
POSTS = f"{CREATED} AND collection = 'app.bsky.feed.post'"
SQL: Mapping[str, str] = {
    "1 events by collection": "SELECT collection, count() AS n FROM events GROUP BY collection ORDER BY n DESC",
    "2 users by collection": (
        f"SELECT collection, count() AS n, uniqExact(did) FROM events WHERE {CREATED}"
        " GROUP BY collection ORDER BY n DESC"
    ),
    "3 collections by hour": (
        f"SELECT collection, toHour(at) AS hour, count() FROM events WHERE {CREATED} AND collection IN ({FEED})"
        " GROUP BY collection, hour ORDER BY hour, collection"
    ),
    "4 first posts": f"SELECT did, min(at) AS first FROM events WHERE {POSTS} GROUP BY did ORDER BY first LIMIT 3",
    "5 longest activity": (
        "SELECT did, date_diff('milliseconds', min(at), max(at)) AS span"
        f" FROM events WHERE {POSTS} GROUP BY did ORDER BY span DESC LIMIT 3"
    ),
    "a substring": "SELECT count() FROM events WHERE text LIKE '%offee%'",
    "a rare substring": "SELECT count() FROM events WHERE cid LIKE '%{rare}%'",
    "latest 100": "SELECT at, did, kind, collection FROM events ORDER BY at DESC LIMIT 100",
}


def is_installed() -> bool:
    """Return whether ClickHouse can be asked."""
    try:
        import chdb  # noqa: F401
    except ImportError:
        return False
    return True


def measure(lines: Path, events: int, repeats: int, rare: str) -> dict[str, float]:
    """Return the milliseconds of each question, the best of the repeats, over events in a file of NDJSON."""
    from chdb import session

    with session.Session(str(lines.with_suffix(".clickhouse"))) as clickhouse:
        clickhouse.query("CREATE DATABASE bench")
        clickhouse.query("USE bench")
        clickhouse.query(TABLE)
        clickhouse.query(FILL.format(file=lines))
        clickhouse.query("OPTIMIZE TABLE events FINAL")
        stored = int(str(clickhouse.query("SELECT count() FROM events", "TSV")))
        if stored != events:
            raise RuntimeError(f"ClickHouse has {stored} of {events} events")
        return {name: _best_ms(clickhouse, query.replace("{rare}", rare), repeats) for name, query in SQL.items()}


def _best_ms(clickhouse: Any, query: str, repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        began_s = time.perf_counter()
        clickhouse.query(query, "Native")
        best = min(best, time.perf_counter() - began_s)
    return best * 1e3
