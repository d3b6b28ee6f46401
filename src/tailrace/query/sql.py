"""SQL as people send it: one read-only statement over datasets, rewritten to read their files and hot rows."""

import difflib
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import sqlglot
import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.errors import ParseError, SqlglotError, TokenError
from sqlglot.optimizer.scope import Scope, traverse_scope

from tailrace.events import DatasetNotFound, Forbidden, QueryInvalid
from tailrace.lake import Snapshot
from tailrace.query.fields import FieldReader, View, cast
from tailrace.query.sources import (
    SYSTEM_TYPES,
    HotRows,
    arrow_types,
    current_columns,
    duckdb_types,
    hot_rows,
    newest,
    rows,
)

DIALECT = "duckdb"
MAX_SQL_BYTES = 256 * 1024  # parsing takes some seconds for each megabyte
MAX_SHOWN = 40  # characters of a word in a message
SYSTEM_FIELDS = tuple(SYSTEM_TYPES)

# It would write what is sent here into the server's log, to say that it takes it for a command.
logging.getLogger("sqlglot").setLevel(logging.ERROR)
_FIRST_WORDS = ("SELECT", "WITH", "FROM", "VALUES")
_QUOTES = ' (a name with other characters than letters, digits and _ is written in double quotes: "my-dataset")'

_STATEMENTS = (exp.Select, exp.SetOperation, exp.Subquery)
_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ)
_ARITHMETIC = (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Pow)
_NUMBER_FUNCTIONS = (exp.Sum, exp.Avg, exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Sqrt, exp.Ln, exp.Stddev,
                     exp.StddevSamp, exp.StddevPop, exp.Variance, exp.VariancePop, exp.Median, exp.Quantile,
                     exp.PercentileCont, exp.PercentileDisc, exp.ApproxQuantile)  # fmt: skip
_TEXT_OPERATORS = (exp.Like, exp.ILike, exp.RegexpLike, exp.RegexpFullMatch, exp.SimilarTo, exp.Lower, exp.Upper,
                   exp.Substring, exp.StartsWith, exp.EndsWith, exp.Contains, exp.Trim, exp.Length)  # fmt: skip


class Source(Struct, frozen=True, eq=False):
    """A dataset under the name by which the rewritten query reads it."""

    name: str
    select: exp.Select  # over its files and `hot_name`
    hot_name: str
    hot: HotRows | pa.Table | None  # to be known to the engine as `hot_name`


Wanted = tuple[str, View]
"""A field, and as what it is read."""


class Plan(Struct, frozen=True, eq=False):
    """A query ready for the engine."""

    query: exp.Expr  # over the sources' names
    sources: tuple[Source, ...]
    datasets: tuple[str, ...]
    fields: tuple[str, ...]  # of those datasets, for suggestions
    names: tuple[str, ...]  # of the answer's columns, where the statement gives them; else ""


def parse(text: str) -> exp.Expr:
    """The one SELECT in `text`; what it may read and call is for the engine to judge. Raises QueryInvalid."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise QueryInvalid("the SQL is not valid Unicode") from error
    if size > MAX_SQL_BYTES:
        raise QueryInvalid(f"the SQL is longer than {MAX_SQL_BYTES} bytes")
    with _refusals(text):
        statements = [each for each in sqlglot.parse(text, read=DIALECT) if each is not None]
    if len(statements) != 1:
        raise QueryInvalid(f"SQL: one statement is expected, {len(statements)} were sent")
    statement = statements[0]
    if not isinstance(statement, _STATEMENTS):
        word = _first_word(text).upper()
        raise QueryInvalid(f"SQL: only SELECT may be sent, this is {word}; datasets are listed by GET /v2/datasets")
    return statement


def no_view(name: str) -> pa.Table | None:
    """Of nobody."""
    return None


def plan(
    statement: exp.Expr, snapshot: Callable[[str], Snapshot], view: Callable[[str], pa.Table | None] = no_view
) -> Plan:
    """Replace each dataset in the statement, which is changed, by a source over its snapshot, each view by its rows.

    `snapshot` raises DatasetNotFound or Forbidden. Raises QueryInvalid.
    """
    with _refusals():
        return _plan(statement, snapshot, view)


def _plan(statement: exp.Expr, snapshot: Callable[[str], Snapshot], view_of: Callable[[str], pa.Table | None]) -> Plan:
    scopes = traverse_scope(statement)
    names = tuple(
        node.output_name if isinstance(node, (exp.Alias, exp.Column)) else "" for node in _selected(statement)
    )
    tables: list[tuple[exp.Table, str]] = []
    snapshots: dict[str, Snapshot] = {}
    read_by_scope: dict[int, dict[str, str]] = {}
    views: dict[str, Source] = {}
    of_views: list[tuple[exp.Table, str, Source]] = []
    for scope in scopes:
        read = read_by_scope[id(scope)] = {}
        for alias, source in scope.sources.items():
            if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier):
                name = ".".join(part.name for part in source.parts)
                if name not in snapshots and name not in views:
                    try:
                        snapshots[name] = snapshot(name)
                    except (DatasetNotFound, Forbidden):
                        found = view_of(name)
                        if found is None:
                            raise
                        views[name] = _view_source(len(views), found)
                if name in views:
                    of_views.append((source, name, views[name]))
                    continue
                read[alias] = name
                if not any(source is table for table, _ in tables):
                    tables.append((source, name))
    readers = {name: FieldReader(each.fields) for name, each in snapshots.items()}
    wanted = _rewrite_columns(scopes, read_by_scope, readers)
    everything = _wants_everything(statement, scopes)
    outermost = {id(source) for source in scopes[-1].sources.values()} if scopes else set()
    sources: dict[tuple[str, View | None], Source] = {}
    for table, name in tables:
        view: View | None = None if not everything else "exact" if id(table) in outermost else "plain"
        if (name, view) not in sources:
            number = len(sources)
            sources[name, view] = _source(
                f"dataset_{number}", f"hot_{number}", snapshots[name], readers[name], wanted[name], everything=view
            )
        if not table.args.get("alias"):
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        table.set("this", exp.to_identifier(sources[name, view].name))
        table.set("db", None)
        table.set("catalog", None)
    for table, name, made in of_views:
        if not table.args.get("alias"):
            table.set("alias", exp.TableAlias(this=exp.to_identifier(name, quoted=True)))
        table.set("this", exp.to_identifier(made.name))
        table.set("db", None)
        table.set("catalog", None)
    fields = sorted({field for reader in readers.values() for field in reader.known()})
    datasets = tuple(each.dataset for each in snapshots.values())
    all_sources = (*sources.values(), *views.values())
    return Plan(statement, all_sources, datasets, tuple(fields), names)


def _view_source(number: int, rows_of_it: pa.Table) -> Source:
    hot_name = f"view_rows_{number}"
    return Source(f"view_{number}", exp.select("*").from_(hot_name), hot_name, rows_of_it)


def _selected(statement: exp.Expr) -> list[exp.Expr]:
    """The items of the outermost select list."""
    selected = statement.selects if isinstance(statement, exp.Query) else []
    return [] if any(node.is_star or node.find(exp.Columns, exp.Unnest) for node in selected) else selected


@contextmanager
def _refusals(text: str = "") -> Iterator[None]:
    """What sqlglot cannot read is the sender's error, told by the word at fault."""
    try:
        yield
    except ParseError as error:
        raise QueryInvalid(f"SQL: {_wrong_word(error, text)}") from error
    except TokenError as error:
        raise QueryInvalid("SQL: the text cannot be read to its end: is a quote or a comment not closed?") from error
    except SqlglotError as error:
        raise QueryInvalid(f"SQL: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise QueryInvalid("SQL: the statement is nested too deeply") from error


def _wrong_word(error: ParseError, text: str) -> str:
    first = _first_word(text)
    if first and first.upper() not in _FIRST_WORDS:
        near = difflib.get_close_matches(first.upper(), _FIRST_WORDS, 1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return f"met {first[:MAX_SHOWN]!r}, where a query begins with SELECT or WITH{meant}"
    if not error.errors:
        return "the statement cannot be read"
    found = error.errors[0]
    word = str(found["highlight"])
    column = max(int(found["col"]) - len(word) + 1, 1)  # sqlglot gives where the word ends
    place = f"line {found['line']}, column {column}"
    expected = str(found["description"]).removeprefix("Expecting ")
    what = f"met {word[:MAX_SHOWN]!r}, " + (
        f"expected {expected}"
        if expected != found["description"]
        else "which does not belong there, or lacks something"
    )
    quotes = _QUOTES if "-" in text or "." in text else ""
    return f"{place}: {what}{quotes}"


def _first_word(text: str) -> str:
    found = re.match(r"\s*(\w+)", text)
    return found[1] if found else ""


def _wants_everything(statement: exp.Expr, scopes: list[Scope]) -> bool:
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
        for join in scope.find_all(exp.Join):
            for using in join.args.get("using") or ():
                for name in datasets.values():
                    if (field := readers[name].resolve(using.name)) is not None:
                        wanted[name].setdefault(using.name, (field, "plain"))
        shown = {node.alias for node in scope.expression.args.get("expressions") or () if isinstance(node, exp.Alias)}
        for column in scope.columns:
            if column.table:
                column = _undotted(column, aliases, list(readers.values()))
            if column.name in SYSTEM_FIELDS or _is_parameter(column):
                continue
            # Without a table's name it may be a field of any dataset, also of one outside a sub-query.
            names = [datasets[column.table]] if column.table in datasets else [] if column.table else list(readers)
            found = {name: field for name in names if (field := readers[name].resolve(column.name)) is not None}
            # ORDER BY may mean the alias.
            clear = column.table or (len(scope.sources) == 1 and not found.keys().isdisjoint(datasets.values()))
            if len(found) == 1 and clear and not (column.name in shown and column.find_ancestor(exp.Ordered)):
                [(name, field)] = found.items()
                view = _view_for(column, outermost=scope.is_root) if readers[name].is_mixed(field) else "plain"
                exposed = _expose(wanted[name], readers[name], field, view)
                if exposed != column.name:
                    _rename(column, exposed)
            else:
                for name, field in found.items():
                    wanted[name].setdefault(column.name, (field, "plain"))
    return wanted


def _undotted(column: exp.Column, aliases: set[str], readers: list[FieldReader]) -> exp.Column:
    """An unquoted http.status, which is not column `status` of a table `http`, as the field that it is."""
    node: exp.Expr = column
    parts = [part.name for part in column.parts]
    while isinstance(node.parent, exp.Dot) and isinstance(node.parent.expression, exp.Identifier):
        node = node.parent
        parts.append(node.name)
    table = parts[0] if parts[0] in aliases else None
    field = ".".join(parts[1:] if table else parts)
    if (table and len(parts) == 2) or not any(reader.resolve(field) for reader in readers):
        return column
    found = exp.column(field, table, quoted=True)
    node.replace(found)
    return found


def _is_parameter(column: exp.Column) -> bool:
    """Whether a list comprehension gives the name its meaning."""
    around = column.find_ancestor(exp.Comprehension)
    return around is not None and not column.table and around.expression.name == column.name


def _expose(wanted: dict[str, Wanted], reader: FieldReader, field: str, view: View) -> str:
    """The name by which a dataset's source gives a field; no two that it gives differ only in case."""
    own = {field} if view == "plain" and wanted.get(field, (field, view)) == (field, view) else set()
    taken = {each.casefold() for each in {*SYSTEM_FIELDS, *reader.paths, *wanted} - own}
    exposed = field if view == "plain" else f"{field}#{view}"
    while wanted.get(exposed) != (field, view) and exposed.casefold() in taken:
        exposed += "#"
    wanted[exposed] = (field, view)
    return exposed


def _rename(column: exp.Column, exposed: str) -> None:
    """Read another column, but keep the name that the answer shows."""
    projection = _projection(column)
    if projection is not None and not isinstance(projection, exp.Alias):
        shown = column.name if projection is column else projection.sql(DIALECT, normalize_functions="lower")
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
    name: str, hot_name: str, snapshot: Snapshot, reader: FieldReader, wanted: dict[str, Wanted], *,
    everything: View | None,
) -> Source:  # fmt: skip
    """A dataset as a SELECT over its files and its hot rows, with the columns that a query names."""
    shown: dict[str, Wanted] = {field: (field, everything) for field in reader.paths} if everything else {}
    shown.update({column: field for column, field in wanted.items() if column not in shown})
    physical = {each.name: each for field, _ in shown.values() for each in reader.columns_read(field)}
    if by := snapshot.primary_key:
        physical |= {each.name: each for each in current_columns(reader, by)}
    hot = hot_rows(snapshot.hot, arrow_types(physical.values()))
    union = rows(snapshot.files, hot_name if hot is not None else None, duckdb_types(physical.values()))
    cells: list[exp.Expr] = [exp.column("_time", quoted=True), exp.column("_sysTime", quoted=True)]
    cells.append(_named(cast(exp.column("_rest", quoted=True), "JSON"), "_rest"))
    cells += [_named(reader.expression(field, view), column) for column, (field, view) in shown.items()]
    physical_rows = exp.Subquery(this=union, alias=exp.TableAlias(this=exp.to_identifier("stored")))
    select = exp.Select(expressions=cells, from_=exp.From(this=physical_rows))
    if by:
        select.set("qualify", newest(reader, by))
    return Source(name, select, hot_name, hot)


def _named(value: exp.Expr, name: str) -> exp.Alias:
    return exp.Alias(this=value, alias=exp.to_identifier(name, quoted=True))
