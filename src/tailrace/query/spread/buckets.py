"""Rows that are divided by a hash of keys, so that those with the same keys come together in one bucket."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp
from msgspec.structs import replace

from tailrace.query.compile.relation import RenderedQuery
from tailrace.query.values import case, cast, fn, infix, is_null, number_node, or_

BUCKET = "bucket"  # the column with a row's number, of which the last bits are that of its bucket
NUMBERS = 2**24  # of which that is one


def divided(query: RenderedQuery, keys: Sequence[exp.Expr], else_by: Sequence[exp.Expr] = ()) -> RenderedQuery:
    """Return a query with a number for each row by keys over its columns, which says in which bucket it is; where a key
    is null by other columns, if there are any.

    The hash is DuckDB's own, by which it groups and joins: what it takes for equal has the same, in every process of
    the same version.
    """
    digest = fn("hash", *keys)
    if else_by:
        digest = case((or_(*map(is_null, keys)), fn("hash", *else_by)), otherwise=digest)
    number = cast(infix(exp.Mod, digest, number_node(NUMBERS)), "INTEGER")
    cells: list[exp.Expr] = [exp.Star(), exp.Alias(this=number, alias=exp.to_identifier(BUCKET))]
    return replace(query, sql=exp.Select(expressions=cells, from_=exp.From(this=exp.Subquery(this=query.sql))))


def bucket_count(wanted: int, most: int) -> int:
    """Return a number of buckets, a power of two: at least as many as are wanted, or as near as `most` allows."""
    count = 1
    while count < wanted and count * 2 <= most:
        count *= 2
    return count


def rows_of_bucket(rows: pa.Table, number: int, buckets: int) -> pa.Table:
    """Return the rows of one of so many buckets, in their order, without their numbers."""
    kind = rows.schema.field(BUCKET).type
    numbers = pc.bit_wise_and(rows[BUCKET], pa.scalar(buckets - 1, kind))
    return rows.filter(pc.equal(numbers, pa.scalar(number, kind))).drop_columns([BUCKET])


def united(tables: Sequence[pa.Table]) -> pa.Table:
    """Return the rows of tables with the same columns, which may be encoded differently, one after the other."""
    kinds = tables[0].schema
    alike = [
        pa.table(
            [table[name].cast(kind.type) for name, kind in zip(kinds.names, kinds, strict=True)], names=kinds.names
        )
        for table in tables
    ]
    return pa.concat_tables(alike)
