"""Where a query is cut: what parts of it compute of some of the files each, and what stands for that in the rest.

A relation is row by row if the rows that it makes of some files do not depend on others. The cut lies above the last
such operator: at groups, which parts make of their rows and which are merged; at the first rows of an order, of which
those of all parts are among the first of each; or at rows that a condition lets through.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.lake.snapshot import DataFile
from tailrace.query.compile.dataset import Dataset
from tailrace.query.compile.groups import Groups
from tailrace.query.compile.join import Joined
from tailrace.query.compile.metadata_pushdown import from_metadata
from tailrace.query.compile.relation import (
    Derived,
    Emitter,
    Layer,
    Reading,
    Relation,
    RenderedQuery,
    RowLimit,
    conjunction,
    identifier,
    named,
    nothing,
    reference,
    references,
)
from tailrace.query.compile.scan import Scan
from tailrace.query.compile.union import United
from tailrace.query.spread.aggregates import SplitGroups, split

MARKED = ("JSON", "HUGEINT", "VARIANT")  # in types that Arrow has as others


class Gathered(Relation):
    """The rows that the parts of a cut answered, by the identifiers of their columns."""

    def __init__(self) -> None:
        super().__init__()
        self.needed: set[str] = set()  # what was asked for
        self.name = ""
        self.rows: pa.Table | None = None
        self.types: Mapping[str, str] = {}  # DuckDB's, by identifier

    def fill(self, name: str, rows: pa.Table, types: Mapping[str, str]) -> None:
        self.name, self.rows, self.types = name, rows, types

    def has(self, name: str) -> bool:
        return True

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        self.needed |= needed
        cells = [_cell(name, self.types.get(name, "")) for name in sorted(needed)]
        if self.rows is None:  # only asked what it is to have
            return exp.Select(expressions=cells or [nothing()])
        source = out.reads_registered(self.name, self.rows)
        return exp.Select(expressions=cells or [nothing()], from_=exp.From(this=source))


def _cell(name: str, kind: str) -> exp.Expr:
    if not any(mark in kind for mark in MARKED):
        return reference(name)
    as_kind = exp.DataType(this=exp.DataType.Type.USERDEFINED, kind=kind)
    return exp.Alias(this=exp.Cast(this=reference(name), to=as_kind), alias=exp.to_identifier(name))


class MergedGroups(Relation):
    """The groups that are made of those of all parts."""

    def __init__(self, groups: SplitGroups, gathered: Gathered) -> None:
        super().__init__()
        self._groups = groups
        self._gathered = gathered

    def has(self, name: str) -> bool:
        return name in self._groups.keys or name in self._groups.values

    def _emit(self, needed: set[str], out: Emitter) -> exp.Query:
        groups = self._groups
        keys = list(groups.keys)
        merges: list[exp.Expr] = [reference(key) for key in keys]
        values: dict[str, exp.Expr] = {}
        columns: set[str] = set(keys)
        number = 0
        for n, partial in enumerate(groups.partials):
            assert partial is not None
            names = [f"p{number + i}" for i in range(len(partial.partials))]
            number += len(names)
            columns |= set(names)
            merged = partial.merge([exp.column(name) for name in names])
            merges += [_alias(node, f"g{n}_{i}") for i, node in enumerate(merged)]
            types = [self._gathered.types.get(name, "") for name in names]
            values[f"m{n}"] = partial.finish([exp.column(f"g{n}_{i}") for i in range(len(merged))], types)
        inner = exp.Select(
            expressions=merges or [nothing()], from_=exp.From(this=out.table(self._gathered.emit(columns, out)))
        )
        if keys:
            inner.set("group", exp.Group(expressions=[reference(key) for key in keys]))
        cells: list[exp.Expr] = [reference(key) for key in keys] + [_alias(node, name) for name, node in values.items()]
        finished = exp.Select(expressions=cells or [nothing()], from_=exp.From(this=out.table(inner)))
        shown = [
            reference(name) if name in groups.keys else _alias(groups.values[name], name) for name in sorted(needed)
        ]
        return exp.Select(expressions=shown or [nothing()], from_=exp.From(this=out.table(finished)))


def _alias(node: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=node, alias=exp.to_identifier(name))


class Cut(Struct, eq=False):
    """A place where a query is cut."""

    source: Relation  # row by row, of which each part reads some files
    replaced: Relation  # for which `gathered`, or what is made of it, stands in
    gathered: Gathered
    scans: Mapping[str, Scan]  # of the datasets beneath, by the names of their hot rows
    groups: SplitGroups | None = None
    where: Sequence[exp.Expr] = ()  # of groups
    first: RowLimit | None = None

    @property
    def stand_in(self) -> Relation:
        return self.gathered if self.groups is None else MergedGroups(self.groups, self.gathered)

    @property
    def bytes(self) -> int:
        """The size of the files that are read."""
        return sum(file.bytes for _, file in self.files())

    def files(self) -> Iterator[tuple[Dataset, DataFile]]:
        for dataset in leaves(self.source):
            for file in self.scans[dataset.hot_name].files_of(dataset.snapshot):
                yield dataset, file

    def part(self, reading: Reading) -> RenderedQuery:
        """Return what is computed of the rows of a reading."""
        out = Emitter(reading)
        if self.groups is not None:
            return self._part_of_groups(self.groups, out)
        needed = self.gathered.needed
        if self.first is not None:
            first = Layer(self.source)
            first.limit = self.first
            return out.finished(first.emit(set(needed), out))
        return out.finished(self.source.emit(set(needed), out))

    def _part_of_groups(self, groups: SplitGroups, out: Emitter) -> RenderedQuery:
        partials = [node for partial in groups.partials if partial is not None for node in partial.partials]
        cells = [named(node, name, out) for name, node in groups.keys.items()]
        cells += [_alias(node, f"p{n}") for n, node in enumerate(partials)]
        read = references([*groups.keys.values(), *partials, *self.where])
        select = exp.Select(
            expressions=cells or [nothing()], from_=exp.From(this=out.table(self.source.emit(read, out)))
        )
        if self.where:
            select.set("where", exp.Where(this=conjunction(self.where)))
        if groups.keys:
            select.set("group", exp.Group(expressions=[reference(name) for name in groups.keys]))
        return out.finished(select)


class CutFinder:
    """Finds the cuts of a query, and why there is none where rows are read."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.reasons: list[str] = []  # why what reads files is not cut

    def cuts(self, relation: Relation, first: RowLimit | None) -> list[Cut]:
        """Return the cuts beneath a relation, of whose rows the `first` are wanted."""
        if self.is_by_row(relation):
            if first is None and not _is_filtered(relation):
                self.reasons.append("all of its rows are wanted at once")
                return []
            return [self._cut(relation, relation, first=first)]
        if isinstance(relation, (Joined, United)):
            members = (relation.left, relation.right) if isinstance(relation, Joined) else relation.members
            return [cut for member in members for cut in self.cuts(member, None)]
        if not isinstance(relation, Layer):
            self._explain(relation)
            return []
        if relation.group is not None and relation.limit.is_all and self.is_by_row(relation.parent):
            return self._cut_groups(relation)
        limit = self._limit(relation)
        if limit.count is not None and relation.group is None and self.is_by_row(relation.parent):
            if relation.where:
                return self.cuts(relation.parent, None)
            wanted = RowLimit(limit.count + limit.offset, limit.by)
            return [self._cut(relation.parent, relation.parent, first=wanted)]
        return self.cuts(relation.parent, None)

    def _cut(self, source: Relation, replaced: Relation, *, first: RowLimit | None = None) -> Cut:
        return Cut(source, replaced, Gathered(), self._scans(source), first=first)

    def _scans(self, source: Relation) -> dict[str, Scan]:
        return {dataset.hot_name: dataset.scan_of(self._reading) for dataset in leaves(source)}

    def _cut_groups(self, relation: Layer) -> list[Cut]:
        by = [identifier(key) for key in relation.group or ()]
        keys = {name: node for name in by if isinstance(node := relation.defines.get(name), exp.Expr)}
        values = {name: node for name, node in relation.defines.items() if isinstance(node, exp.Expr)}
        values = {name: node for name, node in values.items() if name not in keys}
        if len(keys) < len(by) or len(keys) + len(values) < len(relation.defines):
            return self.cuts(relation.parent, None)
        known = None
        if isinstance(relation, Groups) and not relation.where:
            known = from_metadata(relation.parent, keys, values, self._reading)
        if known is not None:
            values = {name: node for name, node in known.defines.items() if name not in keys}
        cut = self.cut_of_groups(relation.parent, relation, keys, values, relation.where)
        if cut is None:
            return self.cuts(relation.parent, None)
        if known is not None:
            cut.scans = {known.hot_name: known.scan}
        return [cut]

    def cut_of_groups(
        self,
        source: Relation,
        replaced: Relation,
        keys: dict[str, exp.Expr],
        values: dict[str, exp.Expr],
        where: Sequence[exp.Expr] = (),
    ) -> Cut | None:
        """Return the cut at groups of rows; None of those that need all of their rows at once."""
        groups = split(keys, values)
        if groups is None or groups.whole is not None:
            self.reasons.append("an aggregation of it needs all rows of a group at once")
            return None
        return Cut(source, replaced, Gathered(), self._scans(source), groups, where)

    def is_by_row(self, relation: Relation) -> bool:
        """Return whether the rows that a relation makes of some files do not depend on others."""
        if isinstance(relation, Dataset):
            return not relation.snapshot.primary_key
        if isinstance(relation, United):
            return all(map(self.is_by_row, relation.members))
        if type(relation) is not Layer or relation.group is not None or not self._limit(relation).is_all:
            return False
        if any(map(_reads_others, [*relation.defines.values(), *relation.where])):
            self.reasons.append("a sub-query, a histogram or a sample needs other rows beside each")
            return False
        return self.is_by_row(relation.parent)

    def _limit(self, layer: Layer) -> RowLimit:
        return self._reading.limits.get(layer, layer.limit)

    def _explain(self, relation: Relation) -> None:
        if isinstance(relation, Dataset):
            self.reasons.append("a dataset of current states needs the newest row of each")


def leaves(relation: Relation) -> Iterator[Dataset]:
    """Yield the datasets that a relation which is row by row reads."""
    if isinstance(relation, Dataset):
        yield relation
    elif isinstance(relation, United):
        for member in relation.members:
            yield from leaves(member)
    elif isinstance(relation, Layer):
        yield from leaves(relation.parent)


def unions(relation: Relation) -> Iterator[United]:
    if isinstance(relation, United):
        yield relation
        for member in relation.members:
            yield from unions(member)
    elif isinstance(relation, Layer):
        yield from unions(relation.parent)


def reading_of(cut: Cut, reading: Reading, files: Collection[tuple[Dataset, DataFile]], *, hot: bool) -> Reading:
    """Return a reading of these files only, or with `hot` of what is in memory, and of rows that stand for others."""
    scans = dict(reading.scans)
    read: set[str] = set()
    for dataset in leaves(cut.source):
        scan = cut.scans[dataset.hot_name]
        own = tuple(file for owner, file in files if owner is dataset)
        scans[dataset.hot_name] = replace(scan, files=own, hot=hot and scan.hot, known=scan.known if hot else None)
        if hot or own:
            read.add(dataset.hot_name)
    members = dict(reading.members)
    for union in unions(cut.source):
        there = reading.members.get(union, range(len(union.members)))
        members[union] = [n for n in there if any(leaf.hot_name in read for leaf in leaves(union.members[n]))]
    return replace(reading, scans=scans, members=members)


def _reads_others(definition: exp.Expr | Derived) -> bool:
    """Return whether a value is not made of its row alone, or another one each time."""
    if isinstance(definition, Derived):
        return True
    return any(
        isinstance(node, (exp.Window, exp.Subquery)) or (isinstance(node, exp.Anonymous) and node.this == "random")
        for node in definition.walk()
    )


def _is_filtered(relation: Relation) -> bool:
    if isinstance(relation, United):
        return any(map(_is_filtered, relation.members))
    return isinstance(relation, Layer) and (bool(relation.where) or _is_filtered(relation.parent))
