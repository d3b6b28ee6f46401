"""Request bodies to batches: content encodings, JSON, NDJSON, CSV, OTLP; limits on events; their times."""

from tailrace.parsing.collector import EventCollector, time_member
from tailrace.parsing.copies import Copy
from tailrace.parsing.csv import parse_csv
from tailrace.parsing.documents import document_lines, parse_documents
from tailrace.parsing.encodings import decode_body
from tailrace.parsing.json import ArrayFields, parse_array, parse_json
from tailrace.parsing.limits import WORST_CASE_FACTOR, ExactWayNeeded, Limits
from tailrace.parsing.otlp import otlp_answer, parse_otlp
from tailrace.parsing.otlp_events import Signal
from tailrace.parsing.times import TimeRule, check_rule

__all__ = [
    "WORST_CASE_FACTOR",
    "ArrayFields",
    "Copy",
    "EventCollector",
    "ExactWayNeeded",
    "Limits",
    "Signal",
    "TimeRule",
    "check_rule",
    "decode_body",
    "document_lines",
    "otlp_answer",
    "parse_array",
    "parse_csv",
    "parse_documents",
    "parse_json",
    "parse_otlp",
    "time_member",
]
