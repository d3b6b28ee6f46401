"""SQL as people send it: one read-only statement over datasets, rewritten to read their files and hot rows."""

import difflib
from collections.abc import Callable, Iterator

import pyarrow as pa
import sqlglot
import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from tailrace.events import DatasetNotFound, QueryInvalid
from tailrace.lake import Snapshot
from tailrace.query.fields import FieldReader, View, duckdb_type

DIALECT = "duckdb"
MAX_SQL_BYTES = 1024 * 1024
SYSTEM_FIELDS = ("_time", "_sysTime", "_rest")

_STATEMENTS = (exp.Select, exp.SetOperation, exp.Subquery)
_FORBIDDEN = (exp.DDL, exp.DML, exp.Command, exp.Into, exp.Pragma, exp.Set, exp.Attach, exp.Detach, exp.Copy, exp.Use)
_TABLE_FUNCTIONS = (exp.GenerateSeries, exp.Unnest, exp.ExplodingGenerateSeries)
_FORBIDDEN_FUNCTIONS = frozenset(
    {"current_setting", "getenv", "getvariable", "nextval", "currval", "write_log", "query", "query_table"}
)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Pow)
_NUMBER_FUNCTIONS = (exp.Sum, exp.Avg, exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Sqrt, exp.Ln, exp.Stddev,
                     exp.StddevSamp, exp.StddevPop, exp.Variance, exp.VariancePop, exp.Median, exp.Quantile,
                     exp.PercentileCont, exp.PercentileDisc, exp.ApproxQuantile)  # fmt: skip
_TEXT_OPERATORS = (exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpFullMatch, exp.SimilarTo, exp.Lower, exp.Upper,
                   exp.Substring, exp.StartsWith, exp.EndsWith, exp.Contains, exp.Trim, exp.Length)  # fmt: skip


class Source(Struct, frozen=True, eq=False):
    """A dataset's hot rows under the name by which the rewritten query reads them."""

    name: str
    rows: pa.Table


Wanted = tuple[str, View]
"""A field, and as what it is read."""


class Plan(Struct, frozen=True, eq=False):
    """A query ready for the engine."""

    query: exp.Expr
    sources: tuple[Source, ...]
    datasets: tuple[str, ...]
    fields: tuple[str, ...]  # of those datasets, for suggestions


def parse(text: str) -> exp.Expr:
    """The one read-only statement in `text`. Raises QueryInvalid."""
    if len(text.encode(errors="replace")) > MAX_SQL_BYTES:
        raise QueryInvalid(f"the SQL is longer than {MAX_SQL_BYTES} bytes")
    try:
        statements = [each for each in sqlglot.parse(text, read=DIALECT) if each is not None]
    except (SqlglotError, RecursionError) as error:
        raise QueryInvalid(f"SQL: {_first_error(error)}") from error
    if len(statements) != 1:
        raise QueryInvalid(f"SQL: one statement is expected, {len(statements)} were sent")
    statement = statements[0]
    if not isinstance(statement, _STATEMENTS):
        raise QueryInvalid(
            f"SQL: only SELECT may be sent, this is {statement.key.upper()}; datasets are listed by GET /v2/datasets"
        )
    for node in statement.walk():
        if isinstance(node, _FORBIDDEN):
            raise QueryInvalid(f"SQL: {node.key.upper()} is not allowed, queries only read")
        if isinstance(node, exp.Func) and _function_name(node) in _FORBIDDEN_FUNCTIONS:
            raise QueryInvalid(f"SQL: the function {_function_name(node)} is not allowed")
        if isinstance(node, exp.Table) and not isinstance(node.this, (exp.Identifier, *_TABLE_FUNCTIONS)):
            raise QueryInvalid(
                f"SQL: {node.this.sql(DIALECT)[:80]} cannot be read from: tables are datasets, "
                "and of the table functions there are range, generate_series and unnest"
            )
    return statement


def plan(statement: exp.Expr, snapshot: Callable[[str], Snapshot], known: Callable[[], list[str]]) -> Plan:
    """Replace each dataset in the statement by a sub-query over its snapshot.

    `snapshot` raises DatasetNotFound or Forbidden; `known` lists the datasets that may be suggested instead.
    """
    statement = statement.copy()
    tables: list[tuple[exp.Table, str]] = []
    snapshots: dict[str, Snapshot] = {}
    scopes = _scopes(statement)
    read_by_scope: dict[int, dict[str, str]] = {}
    for scope in scopes:
        read_by_scope[id(scope)] = {}
        for alias, source in scope.sources.items():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                name = ".".join(part.name for part in source.parts)
                if name not in snapshots:
                    snapshots[name] = _snapshot(name, snapshot, known)
                read_by_scope[id(scope)][alias] = name
                if not any(source is table for table, _ in tables):
                    tables.append((source, name))
    _refuse_strays(statement, tables, scopes)
    readers = {name: FieldReader(each.fields) for name, each in snapshots.items()}
    wanted = _rewrite_columns(scopes, read_by_scope, readers)
    everything = _wants_everything(statement)
    sources = []
    for number, (table, name) in enumerate(tables):
        hot = f"hot_{number}"
        columns = wanted.get(name, {})
        outermost = any(source is table for source in scopes[-1].sources.values())
        view: View | None = None if not everything else "exact" if outermost else "plain"
        rows, select = _source(snapshots[name], readers[name], columns, hot, everything=view)
        sources += [Source(hot, rows)] if rows is not None else []
        named = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(name, quoted=True))
        replaced = exp.Subquery(this=select, alias=named.copy())
        for part in ("joins", "pivots", "sample", "laterals"):
            if table.args.get(part):
                replaced.set(part, table.args[part])
        table.replace(replaced)
    fields = sorted({field for reader in readers.values() for field in reader.known()})
    return Plan(statement, tuple(sources), tuple(snapshots), tuple(fields))


def _function_name(node: exp.Func) -> str:
    return (node.name if isinstance(node, exp.Anonymous) else node.sql_name()).lower()


def _first_error(error: Exception) -> str:
    details = getattr(error, "errors", None)
    if not details:
        return str(error).splitlines()[0]
    first = details[0]
    return (
        f"{first['description']} at line {first['line']}, column {first['col']} "
        '(a name with other characters than letters, digits and _ is written in double quotes: "my-dataset")'
    )


def _scopes(statement: exp.Expr) -> list[Scope]:
    try:
        return traverse_scope(statement)
    except SqlglotError as error:
        raise QueryInvalid(f"SQL: {_first_error(error)}") from error


def _snapshot(name: str, snapshot: Callable[[str], Snapshot], known: Callable[[], list[str]]) -> Snapshot:
    try:
        return snapshot(name)
    except DatasetNotFound:
        folded = [each for each in known() if each.casefold() == name.casefold()]
        if len(folded) == 1:
            return snapshot(folded[0])
        near = difflib.get_close_matches(name, known(), 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DatasetNotFound(f"dataset {name!r} not found{hint}") from None


def _refuse_strays(statement: exp.Expr, tables: list[tuple[exp.Table, str]], scopes: list[Scope]) -> None:
    """Every table must be a dataset that is replaced, or a name that the query itself defines."""
    replaced = {id(table) for table, _ in tables}
    defined = {id(node) for scope in scopes for node, source in scope.selected_sources.values() if source is not node}
    for table in statement.find_all(exp.Table):
        if id(table) in replaced or id(table) in defined or not isinstance(table.this, exp.Identifier):
            continue
        raise QueryInvalid(f"SQL: {table.sql(DIALECT)[:80]} cannot be used here")


def _wants_everything(statement: exp.Expr) -> bool:
    stars = (star for star in statement.find_all(exp.Star) if not isinstance(star.parent, exp.Count))
    return any(stars) or any(statement.find_all(exp.Columns)) or any(statement.find_all(exp.Pivot))


def _rewrite_columns(
    scopes: list[Scope], read_by_scope: dict[int, dict[str, str]], readers: dict[str, FieldReader]
) -> dict[str, dict[str, Wanted]]:
    """Point each column at the field it means; returns, by dataset, the columns that its sub-query must give.

    A field of several types is read by the view that fits where it stands, if it is clear whose field it is.
    """
    wanted: dict[str, dict[str, Wanted]] = {name: {} for name in readers}
    aliases = {alias for scope in scopes for alias in scope.sources}
    for scope in scopes:
        datasets = read_by_scope[id(scope)]
        for column in scope.columns:
            if column.table and column.table not in aliases:
                # An unquoted http.status is not column `status` of a table `http`.
                dotted = exp.column(".".join(part.name for part in column.parts), quoted=True)
                column.replace(dotted)
                column = dotted
            if column.name in SYSTEM_FIELDS:
                continue
            # Without a table's name it may be a field of any dataset, also of one outside a sub-query.
            names = [datasets[column.table]] if column.table in datasets else [] if column.table else list(readers)
            found: dict[str, str] = {}
            for name in names:
                resolved = readers[name].resolve(column.name)
                if resolved is not None:
                    found[name] = resolved
                    wanted[name].setdefault(column.name, (resolved, "plain"))
            if len(found) == 1 and (column.table or (len(scope.sources) == 1 and name in datasets.values())):
                [(name, field)] = found.items()
                view = _view_for(column, outermost=scope.is_root) if readers[name].is_mixed(field) else "plain"
                if view != "plain":
                    exposed = f"{column.name}#{view}"
                    wanted[name][exposed] = (field, view)
                    _rename(column, exposed)
    return wanted


def _rename(column: exp.Column, exposed: str) -> None:
    """Read another column, but keep the name that the answer shows."""
    projection = _projection(column)
    if projection is not None and not isinstance(projection, exp.Alias):
        shown = column.name if projection is column else projection.sql(DIALECT)
        alias = exp.Alias(this=projection.copy(), alias=exp.to_identifier(shown, quoted=True))
        column.set("this", exp.to_identifier(exposed, quoted=True))
        alias.set("this", projection.copy())
        projection.replace(alias)
    else:
        column.set("this", exp.to_identifier(exposed, quoted=True))


def _projection(column: exp.Column) -> exp.Expr | None:
    """The item of a select list that a column is part of."""
    node: exp.Expr = column
    while node.parent is not None and not isinstance(node.parent, exp.Query):
        node = node.parent
    return node if isinstance(node.parent, exp.Select) and node.arg_key == "expressions" else None


def _view_for(column: exp.Column, *, outermost: bool) -> View:
    """As what a column is wanted where it stands."""
    parent = column.parent
    while isinstance(parent, exp.Paren):
        parent = parent.parent
    if outermost and isinstance(_unaliased(_projection(column)), exp.Column) and not _groups(parent):
        return "exact"
    if isinstance(parent, (*_NUMBER_FUNCTIONS, *_ARITHMETIC)):
        return "number"
    if isinstance(parent, _TEXT_OPERATORS):
        return "text"
    if isinstance(parent, (*_COMPARISONS, exp.Between, exp.In)):
        others = [node for node in parent.iter_expressions() if id(node) != id(column)]
        if others and all(_is_number(node) for node in others):
            return "number"
        if others and all(isinstance(node, exp.Literal) and node.is_string for node in others):
            return "text"
    return "plain"


def _unaliased(node: exp.Expr | None) -> exp.Expr | None:
    return node.unalias() if node is not None else None


def _groups(node: exp.Expr | None) -> bool:
    """Whether equal values of a select list become one row."""
    select = node.find_ancestor(exp.Select) if node and not isinstance(node, exp.Select) else node
    return select is not None and bool(select.args.get("group") or select.args.get("distinct"))


def _is_number(node: exp.Expr) -> bool:
    if isinstance(node, (exp.Neg, exp.Paren)):
        node = node.this
    return (isinstance(node, exp.Literal) and not node.is_string) or isinstance(node, _ARITHMETIC)


def _source(
    snapshot: Snapshot,
    reader: FieldReader,
    wanted: dict[str, Wanted],
    hot: str,
    *,
    everything: View | None,
) -> tuple[pa.Table | None, exp.Select]:
    """A dataset as a SELECT over its files and its hot rows, with the columns that a query names."""
    shown: dict[str, Wanted] = {name: (name, everything) for name in reader.paths} if everything else {}
    shown.update({name: field for name, field in wanted.items() if name not in shown})
    physical = {
        column.name: duckdb_type(column) for field, _ in shown.values() for column in reader.columns_read(field)
    }
    parts: list[exp.Select] = []
    if snapshot.files:
        there = frozenset[str]().union(*(file.columns for file in snapshot.files))
        parts.append(_physical(_parquet([str(file.path) for file in snapshot.files]), physical, there))
    rows = pa.concat_tables(snapshot.hot, promote_options="default") if snapshot.hot else None
    if rows is not None:
        parts.append(_physical(exp.to_table(hot), physical, frozenset(rows.column_names)))
    if not parts:
        parts.append(_physical(None, physical, frozenset()).where(exp.false()))
    union: exp.Expr = parts[0]
    for part in parts[1:]:
        union = exp.union(union, part, distinct=False)
    rest = exp.alias_(exp.cast(exp.column("_rest", quoted=True), "JSON"), "_rest", quoted=True)
    select = exp.select(*(exp.column(name, quoted=True) for name in ("_time", "_sysTime")), rest)
    for name, (field, view) in shown.items():
        if name not in SYSTEM_FIELDS:
            select = select.select(exp.alias_(reader.expression(field, view), name, quoted=True))
    return rows, select.from_(exp.Subquery(this=union, alias=exp.TableAlias(this=exp.to_identifier("dataset"))))


def _parquet(paths: list[str]) -> exp.Expr:
    files = exp.Array(expressions=[exp.Literal.string(path) for path in paths])
    options = [
        exp.PropertyEQ(this=exp.to_identifier(name), expression=value)
        for name, value in (("union_by_name", exp.true()), ("hive_partitioning", exp.false()))
    ]
    return exp.Table(this=exp.Anonymous(this="read_parquet", expressions=[files, *options]))


def _physical(source: exp.Expr | None, physical: dict[str, str], there: frozenset[str]) -> exp.Select:
    kinds = {"_time": "TIMESTAMPTZ", "_sysTime": "TIMESTAMPTZ", "_rest": "VARCHAR", **physical}
    select = exp.select(*_cells(kinds, there))
    return select.from_(source) if source is not None else select


def _cells(kinds: dict[str, str], there: frozenset[str]) -> Iterator[exp.Expr]:
    for name, kind in kinds.items():
        if name in there:
            yield exp.column(name, quoted=True)
        else:
            yield exp.alias_(exp.cast(exp.null(), kind), name, quoted=True)
