"""Answers to APL queries as clients read them: tabular, by rows, legacy, and as plain tables."""

from tailrace.query.answers.legacy import to_legacy
from tailrace.query.answers.plain import to_result
from tailrace.query.answers.tabular import to_tabular, to_tabular_rows

__all__ = ["to_legacy", "to_result", "to_tabular", "to_tabular_rows"]
