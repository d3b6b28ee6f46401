"""union: the rows of several relations, their columns brought together by name."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from numpy.typing import NDArray

from tailrace.query.apl import tree
from tailrace.query.compile.compiler import Compiler
from tailrace.query.compile.relation import (
    Definition,
    Emitter,
    Key,
    Layer,
    Relation,
    RelationColumn,
    RenderedQuery,
    identifier,
    named,
    nothing,
    references,
)
from tailrace.query.values import (
    DUCKDB_TYPES,
    DYNAMIC,
    NULL,
    STRING,
    Value,
    as_dynamic,
    choose_parts,
    fn,
    null_node,
    number_node,
    text_node,
)

LAST_TIMES = 1_000  # that are looked for where it is not known yet how many rows an answer has


class MemberRows(Struct, frozen=True, eq=False):
    """The rows of one relation of several: how many, and the times of the last of them, where they have times."""

    rows: int
    last_us: NDArray[np.int64]  # in no order


class United(Relation):
    """The rows of several relations, their columns brought together by name.

    With `only_occupied` those of relations without rows are left out, once it matters which columns there are.
    """

    def __init__(
        self,
        compiler: Compiler,
        members: Sequence[tuple[str, Relation]],
        source_column: str | None,
        *,
        only_occupied: bool = False,
    ) -> None:
        super().__init__()
        self._compiler = compiler
        self._members = [relation for _, relation in members]
        self._names = [name for name, _ in members]
        self._only_occupied = only_occupied
        self.tallies: Mapping[int, MemberRows] | None = None  # by number, once that was asked for `only_occupied`
        self._made: dict[str, RelationColumn | None] = {}
        self._values: dict[str, list[Definition]] = {}  # of an identifier, one of each member
        self._source_column = source_column
        self.events = any(relation.events for relation in self._members)
        if source_column is not None:
            column = compiler.ids.column(source_column, STRING)
            self._made[source_column] = column
            self._values[column.id] = [text_node(name) for name in self._names]
        self._number = compiler.ids.fresh()
        self._values[identifier(self._number)] = [number_node(n) for n in range(len(members))]
        times = [relation.time for relation in self._members]
        if self.events and all(times):
            self.time = self._from("", [column.value for column in times if column is not None])
            self.order = (Key("_time", self.time.value, True, False),)
        rests = [relation.rest for relation in self._members]
        self._rest: RelationColumn | None = None
        if any(rests):
            self._rest = compiler.ids.column("_rest", DYNAMIC)
            self._values[self._rest.id] = [
                null_node("JSON") if member_rest is None else member_rest.value.sql for member_rest in rests
            ]

    @property
    def members(self) -> Sequence[Relation]:
        """The relations."""
        return self._members

    @property
    def number(self) -> exp.Expr:
        """A reference to the number of the relation that a row is of."""
        return self._number

    def of_members(self, reference: exp.Expr) -> list[Definition]:
        """Return what a reference means in each of the relations."""
        return self._values[identifier(reference)]

    def _settle(self) -> None:
        """Leave out the relations without rows."""
        if not self._only_occupied:
            return
        self._only_occupied = False
        answer = self._compiler.evaluated(tally(self, self._number, LAST_TIMES))
        if answer is None:
            return
        tallies = tallied(answer)
        there = sorted(tallies) or [0]
        self.tallies = {n: tallies[number] for n, number in enumerate(there) if number in tallies}
        self._members = [self._members[number] for number in there]
        self._names = [self._names[number] for number in there]
        self._values = {name: [values[number] for number in there] for name, values in self._values.items()}
        self._values[identifier(self._number)] = [number_node(n) for n in range(len(there))]
        if self._rest is not None and all(map(_is_absent, self._values[self._rest.id])):
            self._rest = None

    def find(self, name: str) -> RelationColumn | None:
        if name not in self._made:
            self._settle()
            columns = [relation.find(name) if relation.may_find(name) else None for relation in self._members]
            self._made[name] = None
            if any(columns):
                values = [column.value if column is not None else Value(NULL, exp.null()) for column in columns]
                types = sorted({kind for column in columns if column is not None for kind in column.types})
                column = self._from(name, values)
                self._made[name] = RelationColumn(name, column.value, tuple(types))
        return self._made[name]

    def _from(self, name: str, values: Sequence[Value]) -> RelationColumn:
        kinds = {value.type for value in values} - {NULL}
        ids = self._compiler.ids
        if len(kinds) == 1 and DYNAMIC not in kinds:
            [kind] = kinds
            column = ids.column(name, kind)
            null = null_node(DUCKDB_TYPES[kind])
            self._values[column.id] = [null if value.type is NULL else value.sql for value in values]
            return column
        whole = ids.fresh()
        self._values[identifier(whole)] = [
            null_node("JSON") if value.type is NULL else as_dynamic(value).sql for value in values
        ]

        def chosen(nodes: Sequence[exp.Expr]) -> exp.Expr:
            target = ids.fresh()
            self._values[identifier(target)] = list(nodes)
            return target

        return RelationColumn(name, choose_parts(values, chosen, whole))

    def listed(self) -> list[RelationColumn]:
        self._settle()
        names = dict.fromkeys(column.name for relation in self._members for column in relation.listed())
        if self._source_column is not None:
            names = {self._source_column: None, **names}
        return [column for column in map(self.find, names) if column is not None]

    def known(self) -> list[str]:
        return list(dict.fromkeys(name for relation in self._members for name in relation.known()))

    def has(self, name: str) -> bool:
        return name in self._values

    @property
    def is_open(self) -> bool:
        return any(relation.is_open for relation in self._members)

    @property
    def rest(self) -> RelationColumn | None:
        self._settle()
        return self._rest

    def unlisted(self) -> list[str] | None:
        names_found: dict[str, None] = {}
        listed = {column.name for column in self.listed()}
        for relation in self._members:
            names = relation.unlisted()
            if names is None:
                return None
            names_found.update(dict.fromkeys(name for name in names if name not in listed))
        return list(names_found)

    def hides(self, name: str) -> bool:
        return all(relation.hides(name) for relation in self._members)

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        selects: list[exp.Query] = []
        given: set[str] = set()
        read = out.reading.members.get(self)
        numbers = [n for n in range(len(self._members)) if read is None or n in read] or [0]
        for n in numbers:
            relation = self._members[n]
            parts = {name: self._values[name][n] for name in sorted(needed)}
            parts = {name: part for name, part in parts.items() if not _is_absent(part)}
            given |= parts.keys()
            rows = out.table(relation.emit(references(parts.values()), out))
            cells = [named(part, name, out) for name, part in parts.items()]
            selects.append(exp.Select(expressions=cells or [nothing()], from_=exp.From(this=rows)))
        absent = [named(self._values[name][numbers[0]], name, out) for name in sorted(needed - given)]
        selects[0].set("expressions", [*selects[0].args["expressions"], *absent])
        # By name, as many datasets have few columns in common.
        union = selects[0]
        for select in selects[1:]:
            union = exp.Union(this=union, expression=select, distinct=False, by_name=True)
        return union


def _is_absent(part: Definition) -> bool:
    return isinstance(part, exp.Cast) and isinstance(part.this, exp.Null)


def union(compiler: Compiler, relation: Relation | None, operator: tree.Union) -> Relation:
    members: list[tuple[str, Relation]] = [] if relation is None else [("union_arg0", relation)]
    for number, table in enumerate(map(compiler.resolved, operator.tables), len(members)):
        if isinstance(table, tree.Table):
            members += compiler.inner().tables(table.pattern)
        else:
            members.append((f"union_arg{number}", compiler.inner().source(table)))
    rows: Relation = united(compiler, members, operator.source_column)
    if operator.inner:
        common = set.intersection(*({column.name for column in member.listed()} for _, member in members))
        layer = Layer(rows)
        layer.keeps = lambda name: name in common or name == operator.source_column
        rows = layer
    return rows


def union_source(compiler: Compiler, operator: tree.Union) -> Relation:
    """Return the rows of the relations that it lists."""
    return union(compiler, None, operator)


def united(
    compiler: Compiler,
    members: Sequence[tuple[str, Relation]],
    source_column: str | None,
    *,
    only_occupied: bool = False,
) -> Relation:
    return United(compiler, members, source_column, only_occupied=only_occupied)


def tally_cells(relation: Relation, count: int, *, descending: bool = True) -> dict[str, exp.Expr]:
    """Return the aggregates for how many rows there are, and the times of the first `count` in the order of time."""
    cells: dict[str, exp.Expr] = {"rows": exp.Count(this=exp.Star())}
    if relation.time is not None:
        last = "max" if descending else "min"
        cells["times"] = fn(last, fn("epoch_us", relation.time.value.sql), number_node(count))
    return cells


def tally(relation: Relation, number: exp.Expr, count: int) -> RenderedQuery:
    """Return the query for those of each number of a relation of several."""
    cells = {"n": number, **tally_cells(relation, count)}
    out = Emitter()
    rows = out.table(relation.emit(references([number, *cells.values()]), out))
    named_cells = [exp.Alias(this=cell, alias=exp.to_identifier(name)) for name, cell in cells.items()]
    query = exp.Select(expressions=named_cells, from_=exp.From(this=rows), group=exp.Group(expressions=[number]))
    return out.finished(query)


def tallied(answer: pa.Table) -> dict[int, MemberRows]:
    """Return what the answer to a `tally` says, by number."""
    # Never as Python's numbers: there may be as many times of each relation as an answer may have rows.
    times = [np.zeros(0, np.int64)] * answer.num_rows
    if "times" in answer.column_names:
        times = [cell.values.to_numpy() for cell in answer["times"]]
    rows = zip(answer["n"].to_pylist(), answer["rows"].to_pylist(), times, strict=True)
    return {n: MemberRows(count, last_us) for n, count, last_us in rows}
