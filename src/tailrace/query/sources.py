"""A dataset's rows as an engine reads them: the files and the hot rows that can matter, with the columns asked for."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct

from tailrace.events import DatasetUnavailable
from tailrace.lake.snapshot import REVISION, DataFile, HotTable, PhysicalColumn
from tailrace.query.dictionaries import assembled, encoded
from tailrace.query.fields import FieldReader, arrow_type, cast, duckdb_type
from tailrace.query.values import fn, in_range, literal, or_

SYSTEM_TYPES = {"_time": "TIMESTAMPTZ", "_sysTime": "TIMESTAMPTZ", "_rest": "VARCHAR"}
ROW_NUMBER = "file_row_number"  # a row's place in its Parquet file, from 0: DuckDB's name for it
WEIGHT = "known rows"  # how many rows a row stands for; no field has a name with a blank
KNOWN = "known_rows"  # the name of such rows that are written into a query
SYSTEM_ARROW_TYPES = {"_time": pa.timestamp("us", "UTC"), "_sysTime": pa.timestamp("us", "UTC"), "_rest": pa.string()}


def duckdb_types(columns: Iterable[PhysicalColumn], system: Iterable[str] = SYSTEM_TYPES) -> dict[str, str]:
    """Return the SQL types of physical columns, as they are stored, by name."""
    return {**{name: SYSTEM_TYPES[name] for name in system}, **{column.name: duckdb_type(column) for column in columns}}


def arrow_types(columns: Iterable[PhysicalColumn], system: Iterable[str] = SYSTEM_TYPES) -> dict[str, pa.DataType]:
    """Return the same in Arrow."""
    return {
        **{name: SYSTEM_ARROW_TYPES[name] for name in system},
        **{column.name: arrow_type(column) for column in columns},
    }


def rows(
    files: Sequence[DataFile],
    hot_name: str | None,
    kinds: Mapping[str, str],
    *,
    ranges: Mapping[str, Sequence[tuple[int, int]]] = {},
    known: exp.Expr | None = None,
) -> exp.Query:
    """All rows with the columns of `kinds` (name to SQL type), which are null where a file has none.

    `hot_name` is the name by which the engine knows the hot rows, `known` what a FROM names to read those that stand
    for others; None where there are none. `ranges` has the numbers of the rows that are read of a file, by its name,
    where these are not all. Raise as `parts_of` does.
    """
    return united(parts_of(files, hot_name, kinds, ranges=ranges, known=known), kinds)


def parts_of(
    files: Sequence[DataFile],
    hot_name: str | None,
    kinds: Mapping[str, str],
    *,
    ranges: Mapping[str, Sequence[tuple[int, int]]] = {},
    known: exp.Expr | None = None,
) -> list[exp.Select]:
    """Return the parts of which `rows` is made, each a SELECT from one table.

    Raise DatasetUnavailable for a file that is known to be damaged.
    """
    for file in files:
        if file.damage:
            raise DatasetUnavailable(f"a file of this time is damaged: {file.damage} (`tailrace doctor` names it)")
    parts: list[exp.Select] = []
    whole = [file for file in files if file.name not in ranges]
    for present, paths in _by_columns(whole, kinds).items():
        parts.append(exp.Select(expressions=list(_cells(kinds, present)), from_=exp.From(this=_parquet(paths))))
    for file in files:
        if file.name in ranges:
            cells = list(_cells(kinds, frozenset(kinds) & file.columns))
            rest = exp.Where(this=_within(ranges[file.name]))
            parts.append(exp.Select(expressions=cells, from_=exp.From(this=_parquet([file.location])), where=rest))
    if hot_name is not None:
        hot = exp.Table(this=exp.Identifier(this=hot_name, quoted=False))
        parts.append(_part(hot, kinds, frozenset(kinds) - {WEIGHT}))
    if known is not None:
        parts.append(_part(known, kinds, frozenset(kinds)))
    return parts


def united(parts: Sequence[exp.Select], kinds: Mapping[str, str]) -> exp.Query:
    """Return the rows of all parts."""
    if not parts:
        return exp.Select(expressions=list(_cells(kinds, frozenset()))).limit(0, copy=False)
    union: exp.Query = parts[0]
    for part in parts[1:]:
        union = exp.Union(this=union, expression=part, distinct=False)
    return union


def has_row_numbers(file: DataFile) -> bool:
    """Return whether DuckDB numbers the rows of a file: not where a field has the name of that column."""
    return all(name.casefold() != ROW_NUMBER for name in file.columns)


class HotRows(Struct, frozen=True, eq=False):
    """Rows in memory, in parts that may lack some of the columns."""

    parts: tuple[HotTable, ...]
    schema: pa.Schema

    def columns_of(self, part: HotTable) -> list[str]:
        """Return the columns that have a value in a part."""
        return [name for name in self.schema.names if name in part.columns]

    def table(self) -> pa.Table:
        """All of them with exactly the columns of the schema, texts of few values as dictionaries."""
        return assembled([encoded(part, self.columns_of(part)) for part in self.parts], self.schema)


def hot_rows(hot: Sequence[HotTable], kinds: Mapping[str, pa.DataType]) -> HotRows | None:
    """Return the hot rows with exactly these columns; None where there are none."""
    return HotRows(tuple(hot), pa.schema(list(kinds.items()))) if hot else None


def current_columns(reader: FieldReader, by: str) -> list[PhysicalColumn]:
    """Return the physical columns that `newest` reads."""
    return [*reader.columns_read(by), *reader.columns_read(REVISION)]


def newest(reader: FieldReader, by: str) -> exp.Qualify:
    """Return the clause that keeps, of the rows of a dataset of current states, the one of the highest revision of each
    id.

    It belongs to a SELECT over all of its rows: a bound on the time or another condition comes after it.
    """
    number = exp.Window(
        this=exp.RowNumber(),
        partition_by=[reader.expression(by, "text")],
        order=exp.Order(expressions=[exp.Ordered(this=reader.expression(REVISION, "number"), desc=True)]),
    )
    return exp.Qualify(this=exp.EQ(this=number, expression=exp.Literal.number(1)))


def _by_columns(files: Sequence[DataFile], kinds: Mapping[str, str]) -> dict[frozenset[str], list[str]]:
    """Paths of files by which of the columns they have: so that no file must be opened to learn that."""
    names = frozenset(kinds)
    made_by_reader = names & {ROW_NUMBER}
    groups: dict[frozenset[str], list[str]] = {}
    for file in files:
        groups.setdefault(names & file.columns | made_by_reader, []).append(file.location)
    return groups


def written(rows: pa.Table, kinds: Mapping[str, str]) -> exp.Values:
    """Return rows of these columns as a part of a query, which for a few costs less than to register them."""
    cells = [[_cell(value, kinds[name]) for value in _plain(rows[name])] for name in kinds]
    tuples = [exp.Tuple(expressions=list(row)) for row in zip(*cells, strict=True)]
    columns = [exp.to_identifier(name, quoted=True) for name in kinds]
    return exp.Values(expressions=tuples, alias=exp.TableAlias(this=exp.to_identifier(KNOWN), columns=columns))


def _plain(column: pa.ChunkedArray) -> list[bool | int | float | str | None]:
    is_time = pa.types.is_timestamp(column.type)
    values: list[bool | int | float | str | None] = (column.cast(pa.int64()) if is_time else column).to_pylist()
    return values


def _cell(value: bool | float | str | None, kind: str) -> exp.Expr:
    if value is not None and kind == "TIMESTAMPTZ":
        return fn("make_timestamptz", literal(value).sql)
    return cast(literal(value).sql, kind)


def _part(table: exp.Expr, kinds: Mapping[str, str], present: frozenset[str]) -> exp.Select:
    return exp.Select(expressions=list(_cells(kinds, present)), from_=exp.From(this=table))


def _within(ranges: Sequence[tuple[int, int]]) -> exp.Expr:
    """Return the condition for rows of these numbers, by which DuckDB passes over the row groups of others."""
    number = exp.column(ROW_NUMBER, quoted=True)
    return or_(*(in_range(number, start, stop - 1) for start, stop in ranges))


def _parquet(paths: list[str]) -> exp.Table:
    files = exp.Array(expressions=[exp.Literal.string(path) for path in paths])
    plain = exp.PropertyEQ(this=exp.to_identifier("hive_partitioning"), expression=exp.false())
    return exp.Table(this=exp.Anonymous(this="read_parquet", expressions=[files, plain]))


def _cells(kinds: Mapping[str, str], present: frozenset[str]) -> Iterator[exp.Expr]:
    if not kinds:
        yield exp.Alias(this=exp.Literal.number(1), alias=exp.to_identifier("row"))
    for name, kind in kinds.items():
        if name in present:
            yield exp.column(name, quoted=True)
        elif name == WEIGHT:
            yield exp.Alias(this=cast(exp.Literal.number(1), kind), alias=exp.to_identifier(name, quoted=True))
        else:
            yield exp.Alias(this=cast(exp.null(), kind), alias=exp.to_identifier(name, quoted=True))
