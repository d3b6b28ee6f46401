"""Where a query is cut: what parts of it compute of some of the files each, and what stands for that in the rest.

A relation is row by row if the rows that it makes of some files do not depend on others. The cut lies above the last
such operator: at groups, which parts make of their rows and which are merged; at the first rows of an order, of which
those of all parts are among the first of each; or at rows that a condition lets through.

Groups, and the rows of a join, are made of the rows with the same keys. So what the parts answer can be divided by a
hash of these, and what follows is computed of each bucket by itself, as it is of files: up to the next such operator.
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
    Ids,
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
from tailrace.query.spread.distinct import by_value
from tailrace.query.values import is_not_null

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


class Shuffle(Struct, eq=False):
    """How the answers of parts are divided into buckets, and what is computed of each."""

    keys: Sequence[Sequence[exp.Expr]]  # for each cut those by which its answers are divided
    above: Cut  # of the rows of a bucket, which has no files
    joins_null: bool = True  # whether rows with a null key belong together
    total: str | None = None  # the column of it that counts rows of all groups, in a bucket of those in it


class Stage(Struct, eq=False):
    """Cuts whose parts run at the same time, and what stands for relations once their answers are gathered."""

    cuts: Sequence[Cut]
    stand_ins: Mapping[Relation, Relation]
    shuffle: Shuffle | None = None  # how else their answers can be put together

    @property
    def merged(self) -> Mapping[Relation, Relation]:
        """What stands for relations where the answers are divided, if they can be."""
        return self.stand_ins if self.shuffle is None else {self.shuffle.above.replaced: self.shuffle.above.stand_in}


class CutFinder:
    """Finds the cuts of a query, and why there is none where rows are read."""

    def __init__(self, reading: Reading, ids: Ids, total: str | None = None) -> None:
        self._reading = reading
        self._ids = ids
        self._total = total  # the column that counts rows of all groups
        self.reasons: list[str] = []  # why what reads files is not cut

    def stages(self, relation: Relation, first: RowLimit | None) -> list[Stage]:
        """Return what is to run for the `first` rows of a relation."""
        if self.is_by_row(relation):
            if first is None and not _is_filtered(relation):
                self.reasons.append("all of its rows are wanted at once")
                return []
            return [self._gathering(self._cut(relation, relation, first=first))]
        stage = self._shuffling(relation, first) or self._shuffling_by_value(relation)
        if stage is not None:
            return [stage]
        if isinstance(relation, (Joined, United)):
            return [stage for member in _members(relation) for stage in self.stages(member, None)]
        if not isinstance(relation, Layer):
            self._explain(relation)
            return []
        cut = self._cut_above(relation, first, None)
        return self.stages(relation.parent, None) if cut is None else [self._gathering(cut)]

    def stage_of_aggregates(
        self, relation: Relation, replaced: Relation, keys: dict[str, exp.Expr], values: dict[str, exp.Expr]
    ) -> Stage | None:
        """Return what is to run for aggregates of the rows of a relation, for which another one stands."""
        if self.is_by_row(relation):
            cut = self.cut_of_groups(relation, replaced, keys, values)
            return None if cut is None else self._gathering(cut)
        base = self._base(relation)
        if base is None or not self.is_by_row(relation, base):
            return None
        above = self.cut_of_groups(relation, replaced, keys, values)
        return None if above is None else self._stage_over(base, above, None)

    def _gathering(self, cut: Cut) -> Stage:
        return Stage([cut], {cut.replaced: cut.stand_in})

    def _cut_above(self, relation: Relation, first: RowLimit | None, base: Relation | None) -> Cut | None:
        """Return the cut at a relation, or at the rows that it limits, over a base or over files; None where there is
        none.
        """
        if self.is_by_row(relation, base):
            return self._cut(relation, relation, first=first)
        if not isinstance(relation, Layer) or not self.is_by_row(relation.parent, base):
            return None
        limit = self._limit(relation)
        if relation.group is not None:
            return self._cut_groups(relation) if limit.is_all else None
        if limit.count is None or relation.where:
            return None
        wanted = RowLimit(limit.count + limit.offset, limit.by)
        return self._cut(relation.parent, relation.parent, first=wanted)

    def _shuffling(self, relation: Relation, first: RowLimit | None) -> Stage | None:
        """Return what is to run for a relation whose rows can be computed of buckets."""
        base = self._base(relation)
        if base is None:
            return None
        total = self._total if isinstance(base, Layer) and self._total in base.defines else None
        above = self._cut_above(relation, first, base)
        if above is not None and total is not None and above.groups is None and _filters(above.source, base):
            above = self._cut(base, base)  # as a bucket of which no group is let through counts, too
        if above is None:
            return None
        return self._stage_over(base, above, total if above.groups is None else None)

    def _shuffling_by_value(self, relation: Relation) -> Stage | None:
        """Return what is to run for aggregates of all rows that count distinct values, by which these are divided."""
        if not isinstance(relation, Layer) or relation.group != [] or not self._limit(relation).is_all:
            return None
        if not self.is_by_row(relation.parent) or from_metadata(relation.parent, {}, relation.defines, self._reading):
            return None
        pair = by_value(relation, self._ids)
        if pair is None:
            return None
        inner, outer = pair
        cut = self._cut_groups(inner)
        values = {name: node for name, node in outer.defines.items() if isinstance(node, exp.Expr)}
        above = self.cut_of_groups(inner, relation, {}, values)
        if cut is None or above is None:
            return None
        return Stage([cut], {relation: outer, inner: cut.stand_in}, Shuffle([inner.group or ()], above))

    def _base(self, relation: Relation) -> Relation | None:
        """Return the groups or the join beneath a relation which are made of rows of files."""
        while isinstance(relation, Layer):
            if relation.group and self._limit(relation).is_all and self.is_by_row(relation.parent):
                return relation if _is_by_group(relation, self._total) else None
            relation = relation.parent
        if isinstance(relation, Joined) and all(map(self.is_by_row, relation.sides)):
            return relation
        return None

    def _stage_over(self, base: Relation, above: Cut, total: str | None) -> Stage:
        if isinstance(base, Joined):
            cuts = [self._cut_side(*side) for side in zip(base.sides, base.keys, base.only_matching, strict=True)]
            return Stage(
                cuts, {cut.replaced: cut.gathered for cut in cuts}, Shuffle(base.keys, above, joins_null=False)
            )
        assert isinstance(base, Layer)
        cut = self._cut_groups(base)
        if cut is not None and cut.groups is not None:
            keys = [reference(name) for name in cut.groups.keys]
            return Stage([cut], {base: cut.stand_in}, Shuffle([keys], above, total=total))
        rows = self._cut(base.parent, base.parent)
        keys = [node for key in base.group or () if isinstance(node := base.defines[identifier(key)], exp.Expr)]
        return Stage([rows], {base.parent: rows.gathered}, Shuffle([keys], above, total=total))

    def _cut(self, source: Relation, replaced: Relation, *, first: RowLimit | None = None) -> Cut:
        return Cut(source, replaced, Gathered(), self._scans(source), first=first)

    def _scans(self, source: Relation) -> dict[str, Scan]:
        return {dataset.hot_name: dataset.scan_of(self._reading) for dataset in leaves(source)}

    def _cut_side(self, side: Relation, keys: Sequence[exp.Expr], only_matching: bool) -> Cut:
        """Return the cut at a side of a join, of whose rows those with a null key may be left out."""
        present = Layer(side)
        if only_matching:
            present.where = [is_not_null(key) for key in keys]
        return self._cut(present, side)

    def _cut_groups(self, relation: Layer) -> Cut | None:
        by = [identifier(key) for key in relation.group or ()]
        keys = {name: node for name in by if isinstance(node := relation.defines.get(name), exp.Expr)}
        values = {name: node for name, node in relation.defines.items() if isinstance(node, exp.Expr)}
        values = {name: node for name, node in values.items() if name not in keys}
        if len(keys) < len(by) or len(keys) + len(values) < len(relation.defines):
            return None
        known = None
        if isinstance(relation, Groups) and not relation.where:
            known = from_metadata(relation.parent, keys, values, self._reading)
        if known is not None:
            values = {name: node for name, node in known.defines.items() if name not in keys}
        cut = self.cut_of_groups(relation.parent, relation, keys, values, relation.where)
        if cut is not None and known is not None:
            cut.scans = {known.hot_name: known.scan}
        return cut

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

    def is_by_row(self, relation: Relation, base: Relation | None = None) -> bool:
        """Return whether the rows that a relation makes of some files, or of some rows of a base, do not depend on
        others.
        """
        if relation is base:
            return True
        if isinstance(relation, Dataset):
            return base is None and not relation.snapshot.primary_key
        if isinstance(relation, United):
            return base is None and all(map(self.is_by_row, relation.members))
        if type(relation) is not Layer or relation.group is not None or not self._limit(relation).is_all:
            return False
        if any(map(self._reads_others, [*relation.defines.values(), *relation.where])):
            self.reasons.append("a sub-query or a sample needs other rows beside each")
            return False
        return self.is_by_row(relation.parent, base)

    def _reads_others(self, definition: exp.Expr | Derived) -> bool:
        """Return whether a value is not made of its row alone, or another one each time."""
        if isinstance(definition, Derived):
            return definition not in self._reading.values
        return any(
            isinstance(node, (exp.Window, exp.Subquery)) or (isinstance(node, exp.Anonymous) and node.this == "random")
            for node in definition.walk()
        )

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


def _is_filtered(relation: Relation) -> bool:
    if isinstance(relation, United):
        return any(map(_is_filtered, relation.members))
    return isinstance(relation, Layer) and (bool(relation.where) or _is_filtered(relation.parent))


def _filters(relation: Relation, base: Relation) -> bool:
    """Return whether not all rows of a base are let through."""
    while relation is not base and isinstance(relation, Layer):
        if relation.where:
            return True
        relation = relation.parent
    return False


def _is_by_group(groups: Layer, total: str | None) -> bool:
    """Return whether each group is made of its own rows alone, but for the column of the total."""
    values = [node for name, node in groups.defines.items() if name != total]
    return not any(isinstance(node, Derived) or any(node.find_all(exp.Window)) for node in values)


def aggregates_beneath(relation: Relation) -> Iterator[Derived]:
    """Yield the values beneath a relation that are aggregates of rows, the same for all."""
    if isinstance(relation, Layer):
        yield from (node for node in relation.defines.values() if isinstance(node, Derived) and node.aggregate)
        yield from aggregates_beneath(relation.parent)
    elif isinstance(relation, (Joined, United)):
        for member in _members(relation):
            yield from aggregates_beneath(member)


def _members(relation: Joined | United) -> Sequence[Relation]:
    return (relation.left, relation.right) if isinstance(relation, Joined) else relation.members
