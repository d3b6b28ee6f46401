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
from tailrace.lake.snapshot import Snapshot
from tailrace.query.field_views import (
    compares_by_type,
    is_shown,
    name_of,
    place,
    refused,
    resolve_aliases,
    sorted_by,
    sorts_the_star,
)
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
    """Return the one SELECT in `text`; what it may read and call is for the engine to judge. Raise QueryInvalid."""
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

    `snapshot` raises DatasetNotFound or Forbidden. Raise QueryInvalid.
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
    merged = sorts_the_star(statement)
    if merged:
        for _, name in tables:
            for field in readers[name].paths:
                if readers[name].is_varied(field):
                    raise refused(field)
    if everything:
        _hide(scopes, read_by_scope, readers, wanted)
    sources: dict[tuple[str, View | None], Source] = {}
    for table, name in tables:
        view: View | None = None if not everything else "exact" if id(table) in outermost and not merged else "plain"
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


def _hide(
    scopes: list[Scope], read_by_scope: dict[int, dict[str, str]], readers: dict[str, FieldReader],
    wanted: dict[str, dict[str, Wanted]],
) -> None:  # fmt: skip
    """Leave out of every `*` the columns that a dataset gives in other views beside its fields."""
    for scope in scopes:
        datasets = read_by_scope[id(scope)]
        for star in scope.find_all(exp.Star):
            table = star.parent.table if isinstance(star.parent, exp.Column) else ""
            names = {name for alias, name in datasets.items() if table in ("", alias)}
            own = {field for name in names for field in readers[name].paths}
            extra = sorted({exposed for name in names for exposed in wanted[name] if "#" in exposed} - own)
            if extra and not isinstance(star.parent, exp.Count):
                hidden = [exp.to_identifier(exposed, quoted=True) for exposed in extra]
                star.set("except_", [*(star.args.get("except_") or ()), *hidden])


def _view_source(number: int, rows_of_it: pa.Table) -> Source:
    hot_name = f"view_rows_{number}"
    return Source(f"view_{number}", exp.select("*").from_(hot_name), hot_name, rows_of_it)


def _selected(statement: exp.Expr) -> list[exp.Expr]:
    """Return the items of the outermost select list."""
    selected = statement.selects if isinstance(statement, exp.Query) else []
    return [] if any(node.is_star or node.find(exp.Columns, exp.Unnest) for node in selected) else selected


@contextmanager
def _refusals(text: str = "") -> Iterator[None]:
    """Make of what sqlglot cannot read the sender's error, told by the word at fault."""
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
    """Point each column at the field it means; return, by dataset, the columns that its sub-query must give.

    A field of several types is read by the view that fits where it stands, if it is clear whose field it is.
    """
    wanted: dict[str, dict[str, Wanted]] = {name: {} for name in readers}
    varied: dict[str, str] = {}  # fields that sub-queries give, by the name they have there
    clear_columns: set[int] = set()
    aliases = {alias for scope in scopes for alias in scope.sources}
    for scope in scopes:
        datasets = read_by_scope[id(scope)]
        merged = list(_merged(scope))
        for merged_name in merged:
            found = {name: readers[name].resolve(merged_name) for name in datasets.values()}
            both = all(field is not None and readers[name].is_varied(field) for name, field in found.items())
            for name, field in found.items():
                if field is not None:
                    wanted[name].setdefault(merged_name, (field, "group" if both else "plain"))
        columns: list[exp.Column] = []
        listed = {id(column) for column in scope.columns}
        others = [column for column in scope.find_all(exp.Column) if id(column) not in listed]
        for column in [*scope.columns, *others]:
            if column.table:
                column = _undotted(column, aliases, list(readers.values()))
            if column.name in SYSTEM_FIELDS or _is_parameter(column):
                continue
            column.meta["named"] = column.name
            columns.append(column)

        def meanings(column: exp.Column, scope: Scope = scope) -> dict[str, str]:
            """Return the field that it may be, by dataset."""
            # Without a table's name it may be a field of any dataset, also of one outside a sub-query.
            datasets, table = read_by_scope[id(scope)], column.table
            names = [datasets[table]] if table in datasets else [] if table else list(readers)
            resolved = {name: readers[name].resolve(name_of(column)) for name in names}
            return {name: field for name, field in resolved.items() if field is not None}

        def surely(column: exp.Column, scope: Scope = scope, merged: list[str] = merged) -> tuple[str, str] | None:
            found, datasets = meanings(column, scope), read_by_scope[id(scope)]
            if not column.table:  # of this query's own datasets first
                if name_of(column) in merged or not all(alias in datasets for alias in scope.selected_sources):
                    return None
                found = {name: field for name, field in found.items() if name in datasets.values()}
            return next(iter(found.items())) if len(found) == 1 else None

        def meaning(column: exp.Column) -> tuple[FieldReader, str] | None:
            if name_of(column) in SYSTEM_FIELDS or (sure := surely(column)) is None:
                return None
            return readers[sure[0]], sure[1]

        shown = {
            node.alias for node in scope.expression.args.get("expressions") or ()
            if isinstance(node, exp.Alias) and not (isinstance(node.this, exp.Column) and node.this.name == node.alias)
        }  # fmt: skip
        before = {id(column) for column in scope.find_all(exp.Column)}
        resolve_aliases(scope, meaning)
        now = list(scope.find_all(exp.Column))
        there = {id(column) for column in now}
        gone = before - there
        columns = [column for column in columns if id(column) not in gone]
        columns += [column for column in now if id(column) not in before]
        # ORDER BY, HAVING and QUALIFY may mean the alias.
        of_aliases = {
            id(column) for column in columns
            if column.name in shown and id(column) in before
            and (column.find_ancestor(exp.Ordered) or id(column) not in listed)
        }  # fmt: skip
        for column in columns:
            if id(column) in of_aliases and id(column) not in listed:
                continue
            sure = surely(column)
            if sure is None or id(column) in of_aliases:
                for name, field in meanings(column).items():
                    wanted[name].setdefault(column.name, (field, "plain"))
                    if readers[name].is_varied(field) and id(column) not in of_aliases and compares_by_type(column):
                        raise refused(field)
                continue
            name, field = sure
            _name_projection(column, only_if=readers[name].is_split(field))

            def read(view: View, column: exp.Column = column, name: str = name, field: str = field) -> exp.Column:
                exposed = _expose(wanted[name], readers[name], field, view)
                made = exp.column(exposed, column.args.get("table"), quoted=True)
                made.meta["named"] = name_of(column)
                return made

            view = place(column, scope, readers[name], field, meaning, read)
            if not scope.is_root and is_shown(column) and readers[name].is_varied(field):
                projection = _projection(column)
                varied[projection.alias_or_name if projection is not None else name_of(column)] = field
            clear_columns.add(id(column))
            exposed = _expose(wanted[name], readers[name], field, view)
            if exposed != column.name:
                _rename(column, exposed)
    _refuse_comparisons(scopes, read_by_scope, readers, varied, clear_columns)
    return wanted


def _merged(scope: Scope) -> Iterator[str]:
    """Yield the columns that joins make one of."""
    for join in scope.find_all(exp.Join):
        for using in join.args.get("using") or ():
            yield using.name


def _refuse_comparisons(
    scopes: list[Scope], read_by_scope: dict[int, dict[str, str]], readers: dict[str, FieldReader],
    varied: dict[str, str], clear_columns: set[int],
) -> None:  # fmt: skip
    """Raise QueryInvalid where a column of a sub-query is compared or sorted whose VARIANTs have no order by value."""
    given = dict(varied)
    for scope in scopes:
        if not scope.is_root and any(node.is_star for node in getattr(scope.expression, "expressions", ())):
            for name in read_by_scope[id(scope)].values():
                given |= {field: field for field in readers[name].paths if readers[name].is_varied(field)}
    if not given:
        return
    for scope in scopes:
        if not isinstance(scope.expression, exp.SetOperation) and set(scope.sources) <= set(read_by_scope[id(scope)]):
            continue
        sorted_nodes = {id(node): node for node in sorted_by(scope)}
        for column in [*scope.find_all(exp.Column), *sorted_nodes.values()]:
            if not isinstance(column, exp.Column) or id(column) in clear_columns or name_of(column) not in given:
                continue
            if id(column) in sorted_nodes or compares_by_type(column):
                raise refused(given[name_of(column)])


def _undotted(column: exp.Column, aliases: set[str], readers: list[FieldReader]) -> exp.Column:
    """Return an unquoted http.status, which is not column `status` of a table `http`, as the field that it is."""
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
    """Return the name by which a dataset's source gives a field; no two that it gives differ only in case."""
    own = {field} if view == "plain" and wanted.get(field, (field, view)) == (field, view) else set()
    taken = {each.casefold() for each in {*SYSTEM_FIELDS, *reader.paths, *wanted} - own}
    exposed = field if view == "plain" else f"{field}#{view}"
    while wanted.get(exposed) != (field, view) and exposed.casefold() in taken:
        exposed += "#"
    wanted[exposed] = (field, view)
    return exposed


def _rename(column: exp.Column, exposed: str) -> None:
    """Read another column, but keep the name that the answer shows."""
    _name_projection(column)
    column.set("this", exp.to_identifier(exposed, quoted=True))


def _name_projection(column: exp.Column, *, only_if: bool = True) -> None:
    """Give the item of a select list that a column is part of the name that it has, before it is rewritten."""
    projection = _projection(column)
    if only_if and projection is not None and not isinstance(projection, exp.Alias):
        shown = column.name if projection is column else projection.sql(DIALECT, normalize_functions="lower")
        alias = exp.Alias(alias=exp.to_identifier(shown, quoted=True))
        projection.replace(alias)
        alias.set("this", projection)


def _projection(column: exp.Column) -> exp.Expr | None:
    """Return the item of a select list that a column is part of."""
    node: exp.Expr = column
    while node.parent is not None and not isinstance(node.parent, exp.Query):
        node = node.parent
    return node if isinstance(node.parent, exp.Select) and node.arg_key == "expressions" else None


def _source(
    name: str, hot_name: str, snapshot: Snapshot, reader: FieldReader, wanted: dict[str, Wanted], *,
    everything: View | None,
) -> Source:  # fmt: skip
    """Return a dataset as a SELECT over its files and its hot rows, with the columns that a query names."""
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
