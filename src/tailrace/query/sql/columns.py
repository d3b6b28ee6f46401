"""The columns of a SELECT, pointed at the fields that they mean, each in the view that fits where it stands."""

from collections.abc import Iterator, Mapping, Sequence

import sqlglot.expressions as exp
from msgspec import Struct
from sqlglot.optimizer.scope import Scope

from tailrace.query.fields import FieldReader, View
from tailrace.query.sources import SYSTEM_TYPES
from tailrace.query.sql.field_views import (
    compares_by_type,
    is_shown,
    name_of,
    refused,
    resolve_aliases,
    sorted_by,
    view_of,
)
from tailrace.query.sql.statement import DIALECT

SYSTEM_FIELDS = tuple(SYSTEM_TYPES)

FieldView = tuple[str, View]
"""A field, and as what it is read."""

ExposedColumns = dict[str, FieldView]
"""What a dataset's source must give, by the name of its column there."""


class _Names(Struct, frozen=True, eq=False):
    """What names mean in one query or sub-query."""

    scope: Scope
    datasets: Mapping[str, str]  # that it reads, by alias
    merged: frozenset[str]  # columns that joins make one of
    readers: Mapping[str, FieldReader]  # of all datasets of the statement

    def possible_fields(self, column: exp.Column) -> dict[str, str]:
        """Return the field that a column may be, by dataset."""
        # Without a table's name it may be a field of any dataset, also of one outside a sub-query.
        table = column.table
        names = [self.datasets[table]] if table in self.datasets else [] if table else list(self.readers)
        resolved = {name: self.readers[name].resolve(name_of(column)) for name in names}
        return {name: field for name, field in resolved.items() if field is not None}

    def sure_field(self, column: exp.Column) -> tuple[str, str] | None:
        """Return the dataset and the field that a column means; None where that is not clear."""
        fields = self.possible_fields(column)
        if not column.table:  # of this query's own datasets first
            sources = self.scope.selected_sources
            if name_of(column) in self.merged or not all(alias in self.datasets for alias in sources):
                return None
            fields = {name: field for name, field in fields.items() if name in self.datasets.values()}
        return next(iter(fields.items())) if len(fields) == 1 else None

    def meaning(self, column: exp.Column) -> tuple[FieldReader, str] | None:
        """Return the field that a column surely means, with the reader of its dataset."""
        if name_of(column) in SYSTEM_FIELDS or (field := self.sure_field(column)) is None:
            return None
        return self.readers[field[0]], field[1]


class ColumnRewriter:
    """Points each column of a statement at the field it means.

    A field of several types is read by the view that fits where it stands, if it is clear whose field it is.
    """

    def __init__(
        self,
        scopes: Sequence[Scope],
        datasets_by_scope: Mapping[int, Mapping[str, str]],
        readers: Mapping[str, FieldReader],
    ) -> None:
        self._scopes = scopes
        self._datasets_by_scope = datasets_by_scope
        self._readers = readers
        self._aliases = {alias for scope in scopes for alias in scope.sources}
        self._exposed: dict[str, ExposedColumns] = {name: {} for name in readers}
        self._varied: dict[str, str] = {}  # fields that sub-queries give, by the name they have there
        self._sure_columns: set[int] = set()  # ids of those that point at their fields

    def rewrite(self) -> dict[str, ExposedColumns]:
        """Change the statement; return, by dataset, the columns that its source must give. Raise QueryInvalid."""
        for scope in self._scopes:
            self._rewrite_scope(scope)
        self._refuse_comparisons()
        return self._exposed

    def _rewrite_scope(self, scope: Scope) -> None:
        merged = list(_merged(scope))
        names = _Names(scope, self._datasets_by_scope[id(scope)], frozenset(merged), self._readers)
        for name in merged:
            self._expose_merged(name, names)
        listed = {id(column) for column in scope.columns}
        before = self._columns(scope, listed)
        before_ids = {id(column) for column in scope.find_all(exp.Column)}
        aliases = _given_aliases(scope)
        resolve_aliases(scope, names.meaning)
        columns = _columns_after(scope, before, before_ids)
        # ORDER BY, HAVING and QUALIFY may mean the alias.
        alias_ids = {
            id(column) for column in columns
            if column.name in aliases and id(column) in before_ids
            and (column.find_ancestor(exp.Ordered) or id(column) not in listed)
        }  # fmt: skip
        for column in columns:
            may_be_alias = id(column) in alias_ids
            if may_be_alias and id(column) not in listed:
                continue
            field = names.sure_field(column)
            if field is None or may_be_alias:
                self._expose_possible(column, names, may_be_alias=may_be_alias)
            else:
                self._point_at(column, *field, names)

    def _columns(self, scope: Scope, listed: set[int]) -> list[exp.Column]:
        """Return the columns that may mean fields, those that sqlglot lists for the scope first."""
        others = [column for column in scope.find_all(exp.Column) if id(column) not in listed]
        columns = []
        for each in [*scope.columns, *others]:
            column = _undotted(each, self._aliases, list(self._readers.values())) if each.table else each
            if column.name not in SYSTEM_FIELDS and not _is_parameter(column):
                column.meta["named"] = column.name
                columns.append(column)
        return columns

    def _expose_merged(self, column: str, names: _Names) -> None:
        """Expose the fields that a join makes one column of."""
        fields = {name: self._readers[name].resolve(column) for name in names.datasets.values()}
        all_varied = all(field is not None and self._readers[name].is_varied(field) for name, field in fields.items())
        for name, field in fields.items():
            if field is not None:
                self._exposed[name].setdefault(column, (field, "group" if all_varied else "plain"))

    def _expose_possible(self, column: exp.Column, names: _Names, *, may_be_alias: bool) -> None:
        """Expose every field that a column may mean, under its name."""
        for name, field in names.possible_fields(column).items():
            self._exposed[name].setdefault(column.name, (field, "plain"))
            if self._readers[name].is_varied(field) and not may_be_alias and compares_by_type(column):
                raise refused(field)

    def _point_at(self, column: exp.Column, dataset: str, field: str, names: _Names) -> None:
        """Read a field in the view that fits where a column stands."""
        scope, reader = names.scope, self._readers[dataset]
        if reader.is_split(field):
            _name_projection(column)

        def read(view: View) -> exp.Column:
            other = exp.column(self._expose(dataset, field, view), column.args.get("table"), quoted=True)
            other.meta["named"] = name_of(column)
            return other

        view = view_of(column, scope, reader, field, names.meaning, read)
        if not scope.is_root and is_shown(column) and reader.is_varied(field):
            projection = _projection(column)
            self._varied[projection.alias_or_name if projection is not None else name_of(column)] = field
        self._sure_columns.add(id(column))
        exposed = self._expose(dataset, field, view)
        if exposed != column.name:
            _rename(column, exposed)

    def _expose(self, dataset: str, field: str, view: View) -> str:
        """Return the name by which a dataset's source gives a field; no two that it gives differ only in case."""
        columns = self._exposed[dataset]
        own = {field} if view == "plain" and columns.get(field, (field, view)) == (field, view) else set()
        taken = {each.casefold() for each in {*SYSTEM_FIELDS, *self._readers[dataset].paths, *columns} - own}
        exposed = field if view == "plain" else f"{field}#{view}"
        while columns.get(exposed) != (field, view) and exposed.casefold() in taken:
            exposed += "#"
        columns[exposed] = (field, view)
        return exposed

    def _refuse_comparisons(self) -> None:
        """Raise QueryInvalid where a column of a sub-query is compared or sorted whose VARIANTs have no order."""
        varied = self._varied | self._varied_by_star()
        if not varied:
            return
        for scope in self._scopes:
            datasets = self._datasets_by_scope[id(scope)]
            if not isinstance(scope.expression, exp.SetOperation) and set(scope.sources) <= set(datasets):
                continue
            sorted_nodes = {id(node): node for node in sorted_by(scope)}
            for column in [*scope.find_all(exp.Column), *sorted_nodes.values()]:
                if not isinstance(column, exp.Column) or id(column) in self._sure_columns:
                    continue
                if name_of(column) in varied and (id(column) in sorted_nodes or compares_by_type(column)):
                    raise refused(varied[name_of(column)])

    def _varied_by_star(self) -> dict[str, str]:
        """Return the fields of several types that a `*` in a sub-query gives."""
        return {
            field: field
            for scope in self._scopes
            if not scope.is_root and any(node.is_star for node in getattr(scope.expression, "expressions", ()))
            for name in self._datasets_by_scope[id(scope)].values()
            for field in self._readers[name].paths
            if self._readers[name].is_varied(field)
        }


def _columns_after(scope: Scope, before: list[exp.Column], before_ids: set[int]) -> list[exp.Column]:
    """Return the columns that are left of those before, and the new ones."""
    now = list(scope.find_all(exp.Column))
    gone = before_ids - {id(column) for column in now}
    left = [column for column in before if id(column) not in gone]
    return left + [column for column in now if id(column) not in before_ids]


def _given_aliases(scope: Scope) -> set[str]:
    """Return the aliases in a select list that are no field's own name."""
    return {
        node.alias for node in scope.expression.args.get("expressions") or ()
        if isinstance(node, exp.Alias) and not (isinstance(node.this, exp.Column) and node.this.name == node.alias)
    }  # fmt: skip


def _merged(scope: Scope) -> Iterator[str]:
    """Yield the columns that joins make one of."""
    for join in scope.find_all(exp.Join):
        for using in join.args.get("using") or ():
            yield using.name


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
    dotted = exp.column(field, table, quoted=True)
    node.replace(dotted)
    return dotted


def _is_parameter(column: exp.Column) -> bool:
    """Whether a list comprehension gives the name its meaning."""
    around = column.find_ancestor(exp.Comprehension)
    return around is not None and not column.table and around.expression.name == column.name


def _rename(column: exp.Column, exposed: str) -> None:
    """Read another column, but keep the name that the answer shows."""
    _name_projection(column)
    column.set("this", exp.to_identifier(exposed, quoted=True))


def _name_projection(column: exp.Column) -> None:
    """Give the item of a select list that a column is part of the name that it has, before it is rewritten."""
    projection = _projection(column)
    if projection is not None and not isinstance(projection, exp.Alias):
        name = column.name if projection is column else projection.sql(DIALECT, normalize_functions="lower")
        alias = exp.Alias(alias=exp.to_identifier(name, quoted=True))
        projection.replace(alias)
        alias.set("this", projection)


def _projection(column: exp.Column) -> exp.Expr | None:
    """Return the item of a select list that a column is part of."""
    node: exp.Expr = column
    while node.parent is not None and not isinstance(node.parent, exp.Query):
        node = node.parent
    return node if isinstance(node.parent, exp.Select) and node.arg_key == "expressions" else None
