"""Rows that are divided by a hash of keys, so that those with the same keys come together in one bucket."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import sqlglot.expressions as exp
from msgspec.structs import replace

from tailrace.query.compile.relation import RenderedQuery
from tailrace.query.values import cast, fn, infix, number_node

BUCKET = "bucket"  # the column with a row's number of a bucket, from 0


def divided(query: RenderedQuery, keys: Sequence[exp.Expr], count: int) -> RenderedQuery:
    """Return a query with the bucket of each row, of `count`, by keys over its columns.

    The hash is DuckDB's own, by which it groups and joins: what it takes for equal has the same, in every process of
    the same version.
    """
    number = cast(infix(exp.Mod, fn("hash", *keys), number_node(count)), "INTEGER")
    cells: list[exp.Expr] = [exp.Star(), exp.Alias(this=number, alias=exp.to_identifier(BUCKET))]
    return replace(query, sql=exp.Select(expressions=cells, from_=exp.From(this=exp.Subquery(this=query.sql))))


def rows_of_bucket(rows: pa.Table, number: int) -> pa.Table:
    """Return the rows of one bucket, in their order, without its number."""
    chosen = rows.filter(pc.equal(rows[BUCKET], pa.scalar(number, rows.schema.field(BUCKET).type)))
    return chosen.drop_columns([BUCKET])


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
