"""A SELECT as an engine runs it: each dataset that it reads is a source over the dataset's files and hot rows."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.optimizer.scope import Scope, traverse_scope

from tailrace.events import DatasetNotFound, Forbidden
from tailrace.lake.snapshot import Snapshot
from tailrace.query.fields import FieldReader, View, cast
from tailrace.query.sources import HotRows, arrow_types, current_columns, duckdb_types, hot_rows, newest, rows
from tailrace.query.sql.catalog import CATALOG, SCHEMA
from tailrace.query.sql.columns import ColumnRewriter, ExposedColumns, FieldView
from tailrace.query.sql.field_views import refused, sorts_the_star
from tailrace.query.sql.statement import as_query_invalid

# Before a name, as information_schema has them; a dataset whose name begins so is found first.
_QUALIFIERS = ([CATALOG, SCHEMA], [CATALOG], [SCHEMA])


class Source(Struct, frozen=True, eq=False):
    """A dataset under the name by which the rewritten query reads it."""

    name: str
    select: exp.Select  # over its files and `hot_name`
    hot_name: str
    hot: HotRows | pa.Table | None  # to be known to the engine as `hot_name`


class Plan(Struct, frozen=True, eq=False):
    """A query ready for the engine."""

    query: exp.Expr  # over the sources' names
    sources: tuple[Source, ...]
    datasets: tuple[str, ...]
    fields: tuple[str, ...]  # of those datasets, for suggestions
    names: tuple[str, ...]  # of the answer's columns, where the statement gives them; else ""


def no_view(name: str) -> pa.Table | None:
    """Return None: there are no views."""
    return None


def plan(
    statement: exp.Expr, snapshot: Callable[[str], Snapshot], view: Callable[[str], pa.Table | None] = no_view
) -> Plan:
    """Replace each dataset in the statement, which is changed, by a source over its snapshot, each view by its rows.

    `snapshot` raises DatasetNotFound or Forbidden. Raise QueryInvalid.
    """
    with as_query_invalid():
        return _plan(statement, snapshot, view)


class _References(Struct, frozen=True, eq=False):
    """What a statement reads, by the names that it has for it."""

    snapshots: dict[str, Snapshot] = {}  # of datasets
    views: dict[str, Source] = {}
    tables: list[tuple[exp.Table, str]] = []  # of the statement, each once with its dataset
    view_tables: list[tuple[exp.Table, str]] = []
    by_scope: dict[int, dict[str, str]] = {}  # the datasets that a query or sub-query reads, by alias; keys are ids


def _plan(statement: exp.Expr, snapshot: Callable[[str], Snapshot], view_of: Callable[[str], pa.Table | None]) -> Plan:
    scopes = traverse_scope(statement)
    names = _answer_names(statement)
    references = _references(scopes, snapshot, view_of)
    readers = {name: FieldReader(each.fields) for name, each in references.snapshots.items()}
    exposed = ColumnRewriter(scopes, references.by_scope, readers).rewrite()
    star_views = _star_views(statement, scopes, references, readers)
    if any(star_views):
        _hide_other_views(scopes, references.by_scope, readers, exposed)
    sources: dict[tuple[str, View | None], Source] = {}
    for (table, name), star in zip(references.tables, star_views, strict=True):
        if (name, star) not in sources:
            sources[name, star] = _source(
                len(sources), references.snapshots[name], readers[name], exposed[name], star=star
            )
        _read_from(table, name, sources[name, star])
    for table, name in references.view_tables:
        _read_from(table, name, references.views[name])
    return Plan(
        statement,
        (*sources.values(), *references.views.values()),
        datasets=tuple(each.dataset for each in references.snapshots.values()),
        fields=tuple(sorted({field for reader in readers.values() for field in reader.known()})),
        names=names,
    )


def _answer_names(statement: exp.Expr) -> tuple[str, ...]:
    """Return the names that the outermost select list gives its items; "" for an item without, none where `*` is."""
    selected = statement.selects if isinstance(statement, exp.Query) else []
    if any(node.is_star or node.find(exp.Columns, exp.Unnest) for node in selected):
        return ()
    return tuple(node.output_name if isinstance(node, (exp.Alias, exp.Column)) else "" for node in selected)


def _references(
    scopes: Sequence[Scope], snapshot: Callable[[str], Snapshot], view_of: Callable[[str], pa.Table | None]
) -> _References:
    """Return what the queries read: a name is a dataset's, or where there is none that may be read, a view's."""
    references = _References()
    for scope in scopes:
        datasets = references.by_scope[id(scope)] = {}
        for alias, table in scope.sources.items():
            if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
                continue
            name = _looked_up(table, references, snapshot, view_of)
            if name in references.views:
                references.view_tables.append((table, name))
                continue
            datasets[alias] = name
            if not any(table is other for other, _ in references.tables):
                references.tables.append((table, name))
    return references


def _looked_up(
    table: exp.Table,
    references: _References,
    snapshot: Callable[[str], Snapshot],
    view_of: Callable[[str], pa.Table | None],
) -> str:
    """Return the name of the dataset or view that a table is, which is known to the references then."""
    parts = [part.name for part in table.parts]
    qualified = next((each for each in _QUALIFIERS if parts[: len(each)] == each), [])
    names = [".".join(parts), *([".".join(parts[len(qualified) :])] if 0 < len(qualified) < len(parts) else [])]
    for name in names:
        if name in references.snapshots or name in references.views:
            return name
        try:
            references.snapshots[name] = snapshot(name)
            return name
        except (DatasetNotFound, Forbidden):
            view_rows = view_of(name)
            if view_rows is not None:
                references.views[name] = _view_source(len(references.views), view_rows)
                return name
            if name == names[-1]:
                raise
    raise AssertionError("the last name raises")


def _star_views(
    statement: exp.Expr, scopes: Sequence[Scope], references: _References, readers: Mapping[str, FieldReader]
) -> list[View | None]:
    """Return as what `*` reads the fields of each table; None where the statement names all that it reads.

    Raise QueryInvalid where rows are sorted by such fields that have no order.
    """
    sorted_by_star = sorts_the_star(statement)
    if sorted_by_star:
        for _, name in references.tables:
            for field in readers[name].paths:
                if readers[name].is_varied(field):
                    raise refused(field)
    if not _reads_unnamed_columns(statement, scopes):
        return [None] * len(references.tables)
    outermost = {id(source) for source in scopes[-1].sources.values()} if scopes else set()
    return ["exact" if id(table) in outermost and not sorted_by_star else "plain" for table, _ in references.tables]


def _reads_unnamed_columns(statement: exp.Expr, scopes: Sequence[Scope]) -> bool:
    """Whether columns may be read that the statement does not name."""
    if any(
        not (isinstance(node, exp.Star) and isinstance(node.parent, exp.Count))
        for node in statement.find_all(exp.Star, exp.Columns, exp.Pivot)
    ):
        return True
    if any(join.args.get("method") == "NATURAL" for join in statement.find_all(exp.Join)):
        return True
    # A table's name where a column's is expected means the row.
    return any(not column.table and column.name in scope.sources for scope in scopes for column in scope.columns)


def _hide_other_views(
    scopes: Sequence[Scope],
    datasets_by_scope: Mapping[int, Mapping[str, str]],
    readers: Mapping[str, FieldReader],
    exposed: Mapping[str, ExposedColumns],
) -> None:
    """Leave out of every `*` the columns that a dataset gives in other views beside its fields."""
    for scope in scopes:
        for star in scope.find_all(exp.Star):
            table = star.parent.table if isinstance(star.parent, exp.Column) else ""
            names = {name for alias, name in datasets_by_scope[id(scope)].items() if table in ("", alias)}
            fields = {field for name in names for field in readers[name].paths}
            extra = sorted({column for name in names for column in exposed[name] if "#" in column} - fields)
            if extra and not isinstance(star.parent, exp.Count):
                hidden = [exp.to_identifier(column, quoted=True) for column in extra]
                star.set("except_", [*(star.args.get("except_") or ()), *hidden])


def _read_from(table: exp.Table, name: str, source: Source) -> None:
    """Read a source in a table's place, under the name that the statement has for it."""
    if not table.args.get("alias"):
        table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
    table.set("this", exp.to_identifier(source.name))
    table.set("db", None)
    table.set("catalog", None)


def _view_source(number: int, view_rows: pa.Table) -> Source:
    hot_name = f"view_rows_{number}"
    return Source(f"view_{number}", exp.select("*").from_(hot_name), hot_name, view_rows)


def _source(
    number: int, snapshot: Snapshot, reader: FieldReader, exposed: ExposedColumns, *, star: View | None
) -> Source:
    """Return a dataset as a SELECT over its files and its hot rows, with the columns that a query names.

    `star` is as what all of its other fields are read too; None where they are not.
    """
    hot_name = f"hot_{number}"
    columns: dict[str, FieldView] = {field: (field, star) for field in reader.paths} if star else {}
    columns.update({column: field for column, field in exposed.items() if column not in columns})
    physical = {each.name: each for field, _ in columns.values() for each in reader.columns_read(field)}
    if by := snapshot.primary_key:
        physical |= {each.name: each for each in current_columns(reader, by)}
    hot = hot_rows(snapshot.hot, arrow_types(physical.values()))
    union = rows(snapshot.files, hot_name if hot is not None else None, duckdb_types(physical.values()))
    cells: list[exp.Expr] = [exp.column("_time", quoted=True), exp.column("_sysTime", quoted=True)]
    cells.append(_named(cast(exp.column("_rest", quoted=True), "JSON"), "_rest"))
    cells += [_named(reader.expression(field, view), column) for column, (field, view) in columns.items()]
    physical_rows = exp.Subquery(this=union, alias=exp.TableAlias(this=exp.to_identifier("stored")))
    select = exp.Select(expressions=cells, from_=exp.From(this=physical_rows))
    if by:
        select.set("qualify", newest(reader, by))
    return Source(f"dataset_{number}", select, hot_name, hot)


def _named(value: exp.Expr, name: str) -> exp.Alias:
    return exp.Alias(this=value, alias=exp.to_identifier(name, quoted=True))
