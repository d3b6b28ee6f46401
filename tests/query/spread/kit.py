"""A spreader whose parts an engine beside the one of the query runs, and a lake of many small files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from tailrace.query import DuckDB, Interrupt
from tailrace.query.engines.engine import Session
from tailrace.query.engines.spreader import BucketQuery, RunningParts, Spreader
from tailrace.query.spread.buckets import rows_of_bucket, united


class Answered(RunningParts):
    def __init__(self, spreader: "BesideSpreader", session: Session, tables: list[pa.Table]) -> None:
        self._spreader = spreader
        self._session = session
        self._tables = tables

    def sizes(self) -> list[int]:
        return [table.nbytes + 1 for table in self._tables]  # as something says that there are none

    def tables(self, numbers: Sequence[int]) -> list[pa.Table]:
        return [self._tables[number] for number in numbers]

    def of_buckets(self, queries: Sequence[BucketQuery]) -> list[list[pa.Table]]:
        self._spreader.divided += len(queries)
        return [[self._of_bucket(query, bucket) for bucket in range(query.buckets)] for query in queries]

    def _of_bucket(self, query: BucketQuery, bucket: int) -> pa.Table:
        for rows in query.rows:
            tables = [*self.tables(rows.parts), rows.own]
            self._session.register(
                rows.name, united([rows_of_bucket(table, bucket, query.buckets) for table in tables])
            )
        return self._session.whole(query.text)


class BesideSpreader(Spreader):
    """Runs parts one after the other, and counts them, and the queries whose rows are divided."""

    def __init__(self, engine: DuckDB, *, width: int = 3, spread_bytes: int = 0, gather_bytes: int = 10**9) -> None:
        self._engine = engine
        self._width = width
        self.spread_bytes = spread_bytes
        self.gather_bytes = gather_bytes
        self.parts = 0
        self.divided = 0

    def width(self) -> int:
        return self._width

    @contextmanager
    def started(self, parts: Sequence[str], interrupt: Interrupt) -> Iterator[RunningParts]:
        self.parts += len(parts)
        with self._engine.session(interrupt) as session:
            yield Answered(self, session, [session.whole(text) for text in parts])

    def close(self) -> None:
        pass
