"""What filters of n-grams or terms would save a search in texts, in row groups and milliseconds, and what they cost.

`python -m bench.text_filters` has events shredded, committed and merged as the server does, makes for each row group of
the one file the filters that it could have, and looks up needles in them. The server has no such filters: README.md.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from bench.generators import API_LOGS, BLUESKY, LOG_LINES, Generator
from bench.generators.own_texts import API_MESSAGES, BLUESKY_POSTS
from tailrace.events import Batch
from tailrace.lake.fields import Fields
from tailrace.lake.local_table import LocalTable
from tailrace.lake.parquet import in_order, write_files
from tailrace.lake.rewrite import merged
from tailrace.lake.settings import MaintenanceSettings
from tailrace.lake.shred import Shredder
from tailrace.lake.table_clustering import TableClustering

SEED = 1
SHARES = (0.005, 0.01, 0.02, 0.04)  # of a row group as it is written, for the filters of all its texts
TIMED_SHARE = 0.02
LEAST_SKIPPED = 0.3  # of the row groups, for which a query without them is timed
COMMIT_EVENTS = 100_000
REPEATS = 3
ODD = (np.uint32(0x9E3779B1), np.uint32(0x85EBCA77), np.uint32(0xC2B2AE3D))  # multipliers of hashes

Bytes = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
Hashing = Callable[[Bytes], Hashes]

FOLDED = np.arange(256, dtype=np.uint8)
FOLDED[ord("A") : ord("Z") + 1] += ord("a") - ord("A")
IS_OF_TERM = np.array([byte >= 128 or chr(byte).isalnum() for byte in range(256)])
OUTSIDE = "[^0-9A-Za-z]"  # beside a term, where all is ASCII
INNER_TERM = re.compile(rb"(?<=[^a-zA-Z0-9])[a-zA-Z0-9]+(?=[^a-zA-Z0-9])")


class Needle(Struct, frozen=True):
    """What is looked for in a column; `parts` are literal texts that each match has."""

    name: str
    column: str
    condition: str  # in SQL
    parts: tuple[str, ...]
    is_term: bool = False  # whether the part stands between what is no letter and no digit


class Searched(Struct, frozen=True):
    """Events, the columns that have filters, and the needles for a sample of their values."""

    generator: Generator
    columns: tuple[str, ...]
    needles: Callable[[Mapping[str, Sequence[str]]], Sequence[Needle]]


class GroupTexts(Struct, frozen=True, eq=False):
    """One column in one row group, as what a filter of each kind is made of."""

    bits: float  # of a filter that takes all of the row group's bytes: its part by the bytes of its texts
    hashes: Mapping[str, Hashes]


class TextFile(Struct, frozen=True, eq=False):
    """A file, and the texts of its row groups, by column."""

    path: Path
    stops: npt.NDArray[np.int64]  # the row after the last of each row group
    groups: Mapping[str, Sequence[GroupTexts]]


# Needles.


def _contains(name: str, column: str, text: str) -> Needle:
    return Needle(f"contains {name}", column, f"contains(lower(\"{column}\"), '{text.lower()}')", (text,))


def _has(name: str, column: str, text: str) -> Needle:
    regex = rf"(?i)(?:^|{OUTSIDE}){text}(?:$|{OUTSIDE})"
    possible = f"contains(lower(\"{column}\"), '{text.lower()}')"
    condition = f"CASE WHEN {possible} THEN regexp_matches(\"{column}\", '{regex}') ELSE false END"
    return Needle(f"has {name}", column, condition, (text,), is_term=True)


def _starts(name: str, column: str, text: str) -> Needle:
    return Needle(f"startswith {name}", column, f"starts_with(lower(\"{column}\"), '{text.lower()}')", (text,))


def _matches(name: str, column: str, regex: str, *parts: str) -> Needle:
    return Needle(f"matches regex {name}", column, f"regexp_matches(\"{column}\", '{regex}')", parts)


def _found(values: Iterable[str], pattern: str) -> str:
    return next(found[1] for found in (re.search(pattern, value) for value in values) if found)


def _of_api_logs(values: Mapping[str, Sequence[str]]) -> list[Needle]:
    path = _found(values["message"], r"(/v1/orders/\d{5}) ")
    return [
        _contains("one of 4,096 paths", "message", path),
        _has("its number", "message", path.rpartition("/")[2]),
        _contains("a common word", "message", "orders"),
        _contains("an absent word", "message", "deadlock"),
        _contains("12 digits of an id", "trace_id", values["trace_id"][0][6:18]),
    ]


def _of_bluesky(values: Mapping[str, Sequence[str]]) -> list[Needle]:
    return [
        _contains("two words", "commit.record.text", "coffee music"),
        _contains("a common part", "commit.record.text", "offee"),
        _contains("an absent word", "commit.record.text", "deadlock"),
        _contains("12 letters of an id", "commit.cid", values["commit.cid"][0][20:32]),
    ]


def _of_log_lines(values: Mapping[str, Sequence[str]]) -> list[Needle]:
    request, address = _found(values["message"], r" (\w{16})$"), _found(values["message"], r"^([\d.]+) - -")
    return [
        _has("an id", "message", request),
        _contains("part of an id", "message", request[2:14]),
        _contains("an address", "message", address),
        _contains("an absent path", "message", "/actuator/env"),
        _has("a common word", "message", "password"),
    ]


def _of_messages(values: Mapping[str, Sequence[str]]) -> list[Needle]:
    whole, user = _found(values["message"], r"payment (\w{12})"), _found(values["message"], r"user (\d{5}) ")
    return [
        _contains("an id", "message", whole),
        _has("an id", "message", whole),
        _contains("a rare word", "message", "DeadlockVictim"),
        _has("a rare word", "message", "DeadlockVictimChosen"),
        _matches("rare words", "message", r"lag exceeded: \w+ on shard 1", "lag exceeded: ", " on shard 1"),
        _contains("a number of some", "message", user),
        _has("a number of some", "message", user),
        _contains("it between words", "message", f"user {user} refused"),
        _has("a common word", "message", "refused"),
    ]


def _of_posts(values: Mapping[str, Sequence[str]]) -> list[Needle]:
    column = "commit.record.text"
    name = _found(values[column], r"\b([A-Z][a-z]{7})\b")
    return [
        _contains("a rare name", column, name),
        _has("a rare name", column, name),
        _starts("a rare name", column, name),
        _has("a word of some", column, "asynchronously"),
        _contains("two words", column, "exception because"),
        _contains("a common part", column, "cause"),
    ]


SEARCHED = (
    Searched(API_LOGS, ("message", "trace_id"), _of_api_logs),
    Searched(BLUESKY, ("commit.record.text", "commit.cid"), _of_bluesky),
    Searched(LOG_LINES, ("message",), _of_log_lines),
    Searched(API_MESSAGES, ("message",), _of_messages),
    Searched(BLUESKY_POSTS, ("commit.record.text",), _of_posts),
)


# The file.


def _tables(generator: Generator, events: int) -> Iterator[pa.Table]:
    shredder = Shredder(Fields())
    source = islice(generator.events(SEED), events)
    name = f'"{generator.time_field}":'.encode()
    while lines := list(islice(source, COMMIT_EVENTS)):
        texts = [line.partition(name)[2].partition(b",")[0].decode() for line in lines]
        if texts[0].startswith('"'):
            times = np.array([text[1:27] for text in texts], "datetime64[ns]").astype(np.int64)
        else:
            times = np.array(texts, np.int64) * 1_000
        body = b"".join(line + b"\n" for line in lines)
        yield shredder.shred([Batch(generator.dataset, body, times, len(lines), 0)])


def _merged(generator: Generator, events: int, directory: Path) -> tuple[Path, float]:
    """Return one file of events as compaction leaves it, and the CPU seconds that the merge took."""
    storage, settings = LocalTable(directory), MaintenanceSettings()
    clustering = TableClustering(storage)
    files = []
    for rows in _tables(generator, events):
        files += [file for _, file in write_files(storage, in_order(rows, clustering.of(rows, settings)))]
    began = time.process_time()
    one = merged(storage, files, lambda count: None, clustering=clustering.columns)
    spent_s = time.process_time() - began
    assert one is not None
    return Path(one[1].location), spent_s


# Filters: bitmaps of a row group, in which each n-gram or term of its texts, in ASCII's lower case, has two bits.


def _grams(size: int) -> Hashing:
    """Return what hashes the n-grams of texts, of three or four bytes; also those across two texts, which do no
    harm.
    """

    def hashed(data: Bytes) -> Hashes:
        count = len(data) - size + 1
        if count <= 0:
            return np.empty(0, np.uint32)
        folded = np.zeros(len(data) + 4, np.uint8)
        folded[: len(data)] = FOLDED[data]
        values: Hashes = np.ndarray((count,), "<u4", folded.data, 0, (1,))  # each begins one byte after the other
        return (values & np.uint32((1 << 8 * size) - 1)) * ODD[0]

    return hashed


def _terms(data: Bytes) -> Hashes:
    """Return hashes of the terms of texts: sums of bytes, each times a power by its place, that of the first made 1."""
    inside = np.zeros(len(data) + 2, np.bool_)
    inside[1:-1] = IS_OF_TERM[data]
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, stops = edges[::2], edges[1::2]
    sums = np.zeros(len(data) + 1, np.uint32)
    np.cumsum(FOLDED[data] * _powers(ODD[0], len(data)), dtype=np.uint32, out=sums[1:])
    inverse = np.uint32(pow(int(ODD[0]), -1, 1 << 32))
    found: Hashes = (sums[stops] - sums[starts]) * _powers(inverse, len(data) + 1)[starts] * ODD[1]
    found ^= found >> np.uint32(15)
    found *= ODD[2]
    return found


def _powers(base: np.uint32, count: int) -> Hashes:
    known = _known_powers.get(int(base))
    if known is None or len(known) < count:
        known = _known_powers[int(base)] = np.cumprod(np.full(2 * count, base), dtype=np.uint32) * np.uint32(1)
    return known[:count]


_known_powers: dict[int, Hashes] = {}
KINDS: Mapping[str, Hashing] = {"3-grams": _grams(3), "4-grams": _grams(4), "terms": _terms}


def _places(hashes: Hashes, bits: int) -> Iterator[npt.NDArray[np.uint64]]:
    for each in (hashes, hashes * ODD[1]):
        yield (each * np.uint64(bits)) >> np.uint64(32)


def _filter(hashes: Hashes, bits: int) -> Mask:
    made = np.zeros(bits, np.bool_)
    for places in _places(hashes, bits):
        made[places] = True
    return made


def _looked_up(kind: str, needle: Needle) -> Hashes:
    """Return the hashes that texts have which match; none where nothing is known of them."""
    parts = [part.encode() for part in needle.parts]
    if kind == "terms" and not needle.is_term:
        parts = [term for part in parts for term in INNER_TERM.findall(part)]
    hashed = [KINDS[kind](np.frombuffer(part, np.uint8)) for part in parts]
    return np.concatenate([np.empty(0, np.uint32), *hashed])


# What they do.


def _read(path: Path, columns: Sequence[str], spent_s: dict[str, float]) -> tuple[TextFile, float]:
    """Return the texts of a file's row groups, and their MB; add to the CPU seconds that each kind's filters take."""
    groups: dict[str, list[GroupTexts]] = {name: [] for name in columns}
    rows = []
    total = 0
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            metadata = file.metadata.row_group(number)
            rows.append(metadata.num_rows)
            written = sum(metadata.column(n).total_compressed_size for n in range(metadata.num_columns))
            table = file.read_row_group(number, list(columns), use_threads=False)
            texts = {name: _bytes_of(table[name]) for name in columns}
            of_group = sum(map(len, texts.values()))
            total += of_group
            for name, data in texts.items():
                bits = 8 * written * len(data) / max(1, of_group)
                groups[name].append(GroupTexts(bits, _hashes(data, bits, spent_s)))
    return TextFile(path, np.cumsum(rows), groups), total / 1e6


def _bytes_of(column: pa.ChunkedArray) -> Bytes:
    values = pa.concat_arrays(column.drop_null().chunks) if column.null_count < len(column) else None
    if values is None:
        return np.empty(0, np.uint8)
    _, offsets, data = values.buffers()
    first, *_, last = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
    return np.frombuffer(data, np.uint8)[first:last]


def _hashes(data: Bytes, bits: float, spent_s: dict[str, float]) -> dict[str, Hashes]:
    _powers(ODD[0], len(data) + 1)
    _powers(np.uint32(pow(int(ODD[0]), -1, 1 << 32)), len(data) + 1)
    made = {}
    for kind, hashing in KINDS.items():
        began = time.process_time()
        hashes = hashing(data)
        np.packbits(_filter(hashes, max(64, int(TIMED_SHARE * bits))))
        spent_s[kind] += time.process_time() - began
        made[kind] = np.unique(hashes)
    return made


def _left(file: TextFile, kind: str, needle: Needle, share: float) -> Mask:
    """Return which row groups are read with filters that take this share of the file."""
    wanted = _looked_up(kind, needle)
    left = []
    for texts in file.groups[needle.column]:
        bits = max(64, int(share * texts.bits))
        made = _filter(texts.hashes[kind], bits)
        left.append(all(made[places].all() for places in _places(wanted, bits)))
    return np.array(left)


def _search(file: TextFile, needle: Needle) -> None:
    with duckdb.connect(config={"threads": 1}) as connection:
        source = f"read_parquet('{file.path}', file_row_number = true) WHERE {needle.condition}"
        numbers = connection.execute(f"SELECT file_row_number FROM {source}").fetchnumpy()["file_row_number"]
        has = np.zeros(len(file.stops), np.bool_)
        has[np.searchsorted(file.stops, np.asarray(numbers), "right")] = True
        whole_ms = _cpu_ms(connection, f"SELECT count(*) FROM read_parquet('{file.path}') WHERE {needle.condition}")
        print(f"  {needle.name}: {len(numbers):,} rows, {has.sum()} of {len(has)} row groups; {whole_ms:.1f} ms")
        for kind in KINDS:
            if not len(_looked_up(kind, needle)):
                print(f"    {kind}: cannot tell")
                continue
            left = {share: _left(file, kind, needle, share) for share in SHARES}
            if any((has & ~mask).any() for mask in left.values()):
                raise RuntimeError(f"{needle.name}: {kind} pass over a row group that has it")
            line = ", ".join(f"{1 - mask.mean():.0%}" for mask in left.values())
            timed = left[TIMED_SHARE]
            if timed.mean() <= 1 - LEAST_SKIPPED:
                within = _within(file.stops, timed)
                line += f"; {_cpu_ms(connection, f'SELECT count(*) FROM {source} AND ({within})'):.1f} ms"
            print(f"    {kind}: {line}")


def _within(stops: npt.NDArray[np.int64], chosen: Mask) -> str:
    starts = [0, *stops[:-1].tolist()]
    rows = [f"file_row_number BETWEEN {starts[n]} AND {stops[n] - 1}" for n in np.flatnonzero(chosen)]
    return " OR ".join(rows) or "false"


def _cpu_ms(connection: duckdb.DuckDBPyConnection, sql: str) -> float:
    taken_s = []
    for _ in range(REPEATS):
        began = time.process_time()
        connection.execute(sql).fetchall()
        taken_s.append(time.process_time() - began)
    return min(taken_s) * 1e3


def _sizes(path: Path) -> tuple[int, dict[str, int]]:
    """Return the bytes of a file before compression, and those of the Bloom filters of Parquet that it has."""
    with duckdb.connect() as connection:
        found: list[tuple[str, Any, Any]] = connection.execute(
            "SELECT path_in_schema, sum(total_uncompressed_size), sum(bloom_filter_length) FROM parquet_metadata(?) "
            "GROUP BY ALL ORDER BY ALL",
            [str(path)],
        ).fetchall()
    return sum(int(size) for _, size, _ in found), {name: int(length) for name, _, length in found if length}


def measure(searched: Searched, events: int, directory: Path) -> None:
    """Print what filters of each kind cost one file of these events, and what they save each of its needles."""
    path, merge_s = _merged(searched.generator, events, directory)
    spent_s = dict.fromkeys(KINDS, 0.0)
    file, text_mb = _read(path, searched.columns, spent_s)
    size = path.stat().st_size
    whole, filters = _sizes(path)
    print(f"\n{searched.generator.name}: {events:,} events, {size / 1e6:.1f} MB ({whole / 1e6:.1f} before compression)")
    print(
        f"  {len(file.stops)} row groups; merged in {merge_s:.2f} s; {text_mb:.1f} MB in {', '.join(searched.columns)}"
    )
    print(f"  Bloom filters of Parquet: {sum(filters.values()) / size:.2%} of the file, of {', '.join(filters)}")
    for kind, taken_s in spent_s.items():
        print(f"  {kind} made: {taken_s / text_mb * 1e3:.1f} ms/MB of text, {taken_s / merge_s:.0%} of the merge")
    print(f"  passed over with filters of {', '.join(f'{share:.1%}' for share in SHARES)} of the file:")
    samples = {name: pq.read_table(path, columns=[name])[name].drop_null().to_pylist() for name in searched.columns}
    for needle in searched.needles({name: values[len(values) // 2 :] for name, values in samples.items()}):
        _search(file, needle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--only", type=int, choices=range(len(SEARCHED)), help="number of the data, from 0")
    arguments = parser.parse_args()
    events: int = arguments.events
    for searched in SEARCHED if arguments.only is None else [SEARCHED[arguments.only]]:
        with tempfile.TemporaryDirectory(prefix="text-filters-") as directory:
            measure(searched, events, Path(directory))


if __name__ == "__main__":
    main()
