"""A spreader whose parts an engine beside the one of the query runs, and a lake of many small files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from tailrace.query import DuckDB, Interrupt
from tailrace.query.engines.spreader import RunningParts, Spreader


class Answered(RunningParts):
    def __init__(self, tables: list[pa.Table]) -> None:
        self._tables = tables

    def tables(self) -> list[pa.Table]:
        return self._tables


class BesideSpreader(Spreader):
    """Runs parts one after the other, and counts them."""

    def __init__(self, engine: DuckDB, *, width: int = 3, spread_bytes: int = 0) -> None:
        self._engine = engine
        self._width = width
        self.spread_bytes = spread_bytes
        self.parts = 0

    def width(self) -> int:
        return self._width

    @contextmanager
    def started(self, parts: Sequence[str], interrupt: Interrupt) -> Iterator[RunningParts]:
        self.parts += len(parts)
        with self._engine.session(interrupt) as session:
            yield Answered([session.whole(text) for text in parts])

    def close(self) -> None:
        pass
