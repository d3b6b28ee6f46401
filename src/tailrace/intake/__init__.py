"""Bodies to batches: content encodings, cutting JSON, NDJSON and CSV into events, limits, times."""

from tailrace.intake.array import Copy, Fields, cut_array
from tailrace.intake.csv import cut_csv
from tailrace.intake.cut import cut_json
from tailrace.intake.encodings import decode_body
from tailrace.intake.limits import Limits
from tailrace.intake.otlp import Signal, cut_otlp, otlp_answer
from tailrace.intake.times import TimeRule, check_rule

__all__ = [
    "Copy",
    "Fields",
    "Limits",
    "Signal",
    "TimeRule",
    "check_rule",
    "cut_array",
    "cut_csv",
    "cut_json",
    "cut_otlp",
    "decode_body",
    "otlp_answer",
]
