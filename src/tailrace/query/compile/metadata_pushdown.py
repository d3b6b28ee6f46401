"""Aggregates of rows that need not be read, as their table's metadata tells what is in them.

Of a file, and of each of its row groups, the number of rows is known, the first and the last time; of row groups also
the columns that have one value. Where all that a query reads of such rows is the same, and their times are within one
step of what it makes of time, one row with a weight stands for all of them. Filters, groups and aggregates are computed
of it as of any other row, so that the answer is the one that reading all rows gives.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import sqlglot.expressions as exp
from msgspec import Struct
from msgspec.structs import replace

from tailrace.lake.snapshot import DataFile
from tailrace.query import sources
from tailrace.query.compile.dataset import TIME, Dataset
from tailrace.query.compile.relation import Definition, Layer, Reading, Relation, identifier, references
from tailrace.query.compile.scan import Scan
from tailrace.query.compile.time_steps import TimeSteps, time_steps
from tailrace.query.row_groups import ColumnValues, RowGroups, RowRange
from tailrace.query.values import cast, coalesce, fn, number_node

MAX_RANGES = 64  # of rows of a file; one of more is read whole
MAX_LEFT = 0.5  # of a file's rows; where more are left to read, it is read whole
MAX_LEFT_UNCOMPUTED = 1 / 16  # the same where values are only grouped, not computed with
EXTREMES = ("min", "max")


class PartialAggregates(Struct, frozen=True, eq=False):
    """Aggregates over a dataset of which not all rows need be read."""

    hot_name: str  # of the dataset
    scan: Scan  # what is read: rows that stand for others, and those about which not enough is known
    defines: dict[str, exp.Expr]


class MetadataRead(Struct, frozen=True, eq=False):
    """What a query reads of the rows of a dataset."""

    dataset: Dataset
    scan: Scan
    kinds: dict[str, pa.DataType]  # of the stored columns, beside the time
    steps: TimeSteps
    extremes: bool  # whether the first and the last time are asked for
    is_computed: bool  # whether anything is computed of each row, beside groups by values as they are stored

    def reads_time_of(self, file: DataFile) -> bool:
        """Return whether the time of each row of a file is looked at."""
        has_steps = bool(self.steps.sizes_us or self.steps.cuts_us)
        return has_steps or self.extremes or not self.scan.is_within(file)


class KnownRows:
    """Rows that stand for others, as they are found."""

    def __init__(self, names: Collection[str]) -> None:
        self.times: list[int] = []
        self.weights: list[int] = []
        self.values: dict[str, list[object]] = {name: [] for name in names}

    def add(self, time_us: int, weight: int, values: Mapping[str, object]) -> None:
        if weight:
            self.times.append(time_us)
            self.weights.append(weight)
            for name, column in self.values.items():
                column.append(values.get(name))

    def table(self, kinds: Mapping[str, pa.DataType]) -> pa.Table:
        columns = {
            TIME: pa.array(np.array(self.times, np.int64)).cast(sources.SYSTEM_ARROW_TYPES[TIME]),
            sources.WEIGHT: pa.array(np.array(self.weights, np.int64)),
        }
        for name, kind in kinds.items():
            columns[name] = pa.array(self.values[name], kind)
        return pa.table(columns)


def from_metadata(
    parent: Relation, keys: Mapping[str, exp.Expr], aggregates: Mapping[str, Definition], reading: Reading
) -> PartialAggregates | None:
    """Return aggregates over the rows of `parent`, in groups by `keys`, with rows that stand for those that need not be
    read; None where that helps nothing.
    """
    layers, dataset = layers_of(parent)
    if not isinstance(dataset, Dataset) or dataset.snapshot.primary_key or not (keys or aggregates):
        return None
    weighted: dict[str, exp.Expr] = {}
    for name, node in aggregates.items():
        over_weights = _weighted(node, dataset)
        if over_weights is None:
            return None
        weighted[name] = over_weights
    wanted = metadata_read(layers, dataset, keys, aggregates, reading)
    scan = None if wanted is None else _scan_without_known(wanted)
    return None if scan is None else PartialAggregates(dataset.hot_name, scan, {**keys, **weighted})


def layers_of(relation: Relation) -> tuple[list[Layer], Relation]:
    """Return the layers that only filter rows and add columns, outermost first, and what they read."""
    layers: list[Layer] = []
    while type(relation) is Layer and relation.limit.is_all and relation.group is None:
        layers.append(relation)
        relation = relation.parent
    return layers, relation


def _weighted(node: Definition, dataset: Dataset) -> exp.Expr | None:
    """Return an aggregate over rows with weights; None of one for which they would have to be repeated."""
    if isinstance(node, exp.Cast):
        inner = _weighted(node.this, dataset)
        return exp.Cast(this=inner, to=node.args["to"]) if inner is not None else None
    if isinstance(node, exp.Filter):
        inner = _total(dataset, node.expression) if is_count(node.this) else _weighted(node.this, dataset)
        return inner if inner is None or is_count(node.this) else node
    if is_count(node):
        return _total(dataset)
    if isinstance(node, exp.Window) and not node.args.get("partition_by") and not node.args.get("order"):
        summed = node.this
        if isinstance(summed, exp.Anonymous) and summed.this == "sum" and all(map(is_count, summed.expressions)):
            return exp.Window(this=fn("sum", _total(dataset)))
        return None
    if isinstance(node, exp.Anonymous):
        [argument, *others] = node.expressions or [None]
        if node.this in EXTREMES and not others:
            return node
        if node.this == "count" and isinstance(argument, exp.Distinct):
            return node
    return None


def is_count(node: object) -> bool:
    return isinstance(node, exp.Count) and isinstance(node.this, exp.Star)


def _total(dataset: Dataset, condition: exp.Expr | None = None) -> exp.Expr:
    """Return the sum of the weights, 0 where there is no row."""
    total: exp.Expr = fn("sum", dataset.weight.value.sql)
    if condition is not None:
        total = exp.Filter(this=total, expression=condition)
    return cast(coalesce(total, number_node(0)), "BIGINT")


def metadata_read(
    layers: Sequence[Layer],
    dataset: Dataset,
    keys: Mapping[str, exp.Expr],
    aggregates: Mapping[str, Definition],
    reading: Reading,
) -> MetadataRead | None:
    """Return what is read of the dataset's rows; None where that is more than values of columns and steps of time."""
    scan = dataset.scan_of(reading)
    if scan.condition is not None or scan.known is not None:
        return None
    time = dataset.event_time.id
    extremes = False
    nodes: list[exp.Expr] = list(keys.values())
    for node in aggregates.values():
        assert isinstance(node, exp.Expr)
        is_extreme = isinstance(node, exp.Anonymous) and node.this in EXTREMES
        if is_extreme and isinstance(node.expressions[0], exp.Column) and identifier(node.expressions[0]) == time:
            extremes = True
        else:
            nodes += _arguments(node)
    needed = references([*nodes, *aggregates.values()])
    for layer in layers:
        if layer.always:
            return None
        used = [layer.defines[name] for name in needed & layer.defines.keys()]
        used += layer.where
        plain = [node for node in used if isinstance(node, exp.Expr)]
        if len(plain) < len(used):
            return None
        nodes += plain
        needed = (needed - layer.defines.keys()) | references(plain)
    reads = dataset.reads(needed)
    nodes += reads.computed.values()
    steps = time_steps(nodes, time)
    kinds = sources.arrow_types(
        [column for column in dataset.snapshot.fields.columns if column.name in reads.physical],
        [name for name in sources.SYSTEM_TYPES if name in reads.physical],
    )
    if steps is None or reads.physical - kinds.keys():
        return None
    kinds.pop(TIME, None)
    return MetadataRead(dataset, scan, kinds, steps, extremes, not all(isinstance(node, exp.Column) for node in nodes))


def _arguments(node: exp.Expr) -> Iterator[exp.Expr]:
    """Yield what an aggregate computes for each row."""
    if isinstance(node, exp.Filter):
        yield from _arguments(node.this)
        yield node.expression.this
    elif isinstance(node, exp.Cast):
        yield from _arguments(node.this)
    elif isinstance(node, exp.Anonymous):
        yield from (part for part in node.expressions if isinstance(part, exp.Expr) and not is_count(part))


def _scan_without_known(wanted: MetadataRead) -> Scan | None:
    """Return what is left to read, with rows for what is not; None where all is read."""
    known = KnownRows(wanted.kinds)
    files: list[DataFile] = []
    ranges: dict[str, tuple[RowRange, ...]] = {}
    for file in wanted.scan.files_of(wanted.dataset.snapshot):
        left = unknown_ranges(file, wanted, known)
        if left is None:
            files.append(file)
        elif left:
            files.append(file)
            ranges[file.name] = left
    if not known.times:
        return None
    return replace(wanted.scan, files=tuple(files), ranges=ranges, known=known.table(wanted.kinds))


def unknown_ranges(file: DataFile, wanted: MetadataRead, known: KnownRows) -> tuple[RowRange, ...] | None:
    """Add the rows that stand for those of a file; return the others, None where these are all."""
    if file.damage:
        return None
    kinds = {name: kind for name, kind in wanted.kinds.items() if name in file.columns}
    if not kinds:
        whole = np.array([file.rows]), np.array([file.min_time_us]), np.array([file.max_time_us])
        if wanted.scan.is_within(file) and wanted.steps.are_within_one(whole[1], whole[2]).all():
            _add(known, RowGroups(*whole, {}), np.ones(1, np.bool_), extremes=wanted.extremes)
            return ()
    if wanted.dataset.row_groups is None or not sources.has_row_numbers(file):
        return None
    groups = wanted.dataset.row_groups.of(file, kinds)
    if groups is None:
        return None
    columns = {name: groups.columns[name] for name in kinds}
    is_known, is_beyond = wanted.scan.places(groups)
    is_known &= wanted.steps.are_within_one(groups.first_us, groups.last_us)
    for column in columns.values():
        is_known &= column.is_constant
    left = groups.ranges(~(is_known | is_beyond))
    if len(left) > MAX_RANGES or not is_known.any():
        return None
    if left and not _is_worth(file, wanted, list(columns.values()), is_known, left):
        return None
    _add(known, replace(groups, columns=columns), is_known, extremes=wanted.extremes)
    return left


def _is_worth(
    file: DataFile,
    wanted: MetadataRead,
    columns: Sequence[ColumnValues],
    is_known: npt.NDArray[np.bool_],
    left: Sequence[RowRange],
) -> bool:
    """Return whether to read the rows that are left of a file takes less than to read it whole.

    Rows by their numbers, beside others with weights, take more than as many rows of a whole file; and row groups in
    which a column has no value take next to nothing.
    """
    reads_time = wanted.reads_time_of(file)
    if not reads_time:
        has_values = is_known.copy()
        for column in columns:
            has_values &= np.array([value is not None for value in column.values], np.bool_)
        if not has_values.any():
            return False
    most = MAX_LEFT if reads_time or wanted.is_computed else MAX_LEFT_UNCOMPUTED
    return sum(stop - start for start, stop in left) <= most * file.rows


def _add(known: KnownRows, groups: RowGroups, is_known: npt.NDArray[np.bool_], *, extremes: bool) -> None:
    for n in np.flatnonzero(is_known).tolist():
        values = {name: column.values[n] for name, column in groups.columns.items()}
        first, last, rows = int(groups.first_us[n]), int(groups.last_us[n]), int(groups.rows[n])
        if not extremes:
            known.add(first, rows, values)
        else:  # the last of them has the last time, all others the first
            known.add(first, rows - 1, values)
            known.add(last, 1, values)
