"""SQL as people send it: one read-only statement over datasets, rewritten to read their files and hot rows."""

from tailrace.query.sql.catalog import catalog_rows, described
from tailrace.query.sql.plan import Plan, Source, no_view, plan
from tailrace.query.sql.statement import DIALECT, MAX_SQL_BYTES, Question, parse

__all__ = [
    "DIALECT",
    "MAX_SQL_BYTES",
    "Plan",
    "Question",
    "Source",
    "catalog_rows",
    "described",
    "no_view",
    "parse",
    "plan",
]
