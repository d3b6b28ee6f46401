"""Data files with row groups as a test wants them, as the one dataset `logs`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from tailrace.lake.snapshot import Check, DataFile, FieldsView, HotTable, PhysicalColumn, Snapshot, TableRoot, no_check
from tailrace.query import AplRequest, DuckDB, QueryLimits, run_apl
from tailrace.query.apl_result import AplResult

COLUMNS = (
    PhysicalColumn("level", "level", ("level",), "string"),
    PhysicalColumn("n", "n", ("n",), "integer"),
    PhysicalColumn("n#string", "n", ("n",), "string"),
    PhysicalColumn("flag", "flag", ("flag",), "boolean"),
    PhysicalColumn("x", "x", ("x",), "float"),
)
KINDS = {"string": pa.string(), "integer": pa.int64(), "boolean": pa.bool_(), "float": pa.float64()}
SCHEMA = pa.schema(
    [
        ("_time", pa.timestamp("us", "UTC")),
        ("_sysTime", pa.timestamp("us", "UTC")),
        *((column.name, KINDS[column.type]) for column in COLUMNS),
        ("_rest", pa.string()),
    ]
)
Row = Mapping[str, Any]
"""`_time` in microseconds, and values by the names of columns."""


def rows_table(rows: Sequence[Row]) -> pa.Table:
    """Return rows in the columns of SCHEMA."""
    full = [{"_sysTime": 0, **row} for row in rows]
    return pa.table({field.name: pa.array([row.get(field.name) for row in full], field.type) for field in SCHEMA})


def hot_table(rows: Sequence[Row]) -> HotTable:
    """Return rows as they are in memory before they are in a file."""
    return HotTable.of(rows_table(rows))


def without_empty(table: pa.Table) -> pa.Table:
    """Return a table without columns that have no value, as files are written."""
    return table.select([name for name in table.column_names if table[name].null_count < table.num_rows])


class FileDesk:
    """Asks APL over files that a test writes; a snapshot source of one dataset."""

    def __init__(self, root: Path) -> None:
        self.root = root / "tables"
        self.directory = self.root / "logs"
        self.directory.mkdir(parents=True)
        self.engine = DuckDB(TableRoot(f"{self.root}/"), root / "temporary", QueryLimits())
        self.files: list[DataFile] = []
        self.hot: tuple[HotTable, ...] = ()
        self.view = FieldsView(COLUMNS)
        self.primary_key = ""
        self.written = 0

    def clear(self) -> None:
        self.files, self.hot = [], ()

    def write(self, groups: Sequence[Sequence[Row]], write: Callable[..., None] | None = None) -> DataFile:
        """Add a file of these row groups."""
        self.written += 1
        path = self.directory / f"part-{self.written}.parquet"
        table = without_empty(rows_table([row for group in groups for row in group]))
        if write is not None:
            write(table, path)
        else:
            with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
                done = 0
                for group in groups:
                    writer.write_table(table.slice(done, len(group)), row_group_size=max(len(group), 1))
                    done += len(group)
        times = table["_time"].cast(pa.int64()).to_pylist()
        size = path.stat().st_size
        columns = frozenset(table.column_names)
        file = DataFile(path.name, str(path), size, table.num_rows, min(times), max(times), columns)
        self.files.append(file)
        return file

    def spoil_data(self, file: DataFile) -> None:
        """Overwrite all but the footer, so that no row can be read."""
        path = Path(file.location)
        content = bytearray(path.read_bytes())
        footer = int.from_bytes(content[-8:-4], "little") + 8
        content[4:-footer] = b"\xff" * (len(content) - footer - 4)
        path.write_bytes(content)

    def ask(self, apl: str, **more: Any) -> AplResult:
        return run_apl(self, self.engine, AplRequest(apl=apl, **more), check=lambda dataset: None)

    def close(self) -> None:
        self.engine.close()

    # The snapshot source

    def knows(self, name: str) -> bool:
        return name == "logs"

    def names(self) -> Sequence[str]:
        return ["logs"]

    def snapshot(self, name: str, *, timeout_s: float, check: Check = no_check) -> Snapshot:
        return Snapshot("logs", tuple(self.files), self.hot, self.view, self.primary_key)


class Answered(Struct, frozen=True):
    """All that an answer says but how long it took."""

    tables: tuple[Any, ...]
    examined: int
    matched: int


def answered(result: AplResult) -> Answered:
    tables = tuple((table.fields, table.rows.to_pylist(), table.groups, table.range) for table in result.tables)
    return Answered(tables, result.status.rows_examined, result.status.rows_matched)
