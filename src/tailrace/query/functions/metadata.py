"""Functions of fields, rows and their ingestion."""

from tailrace.query.functions.table import CallInvalid, Context, table
from tailrace.query.values import DATETIME, DYNAMIC, STRING, Value, constant_in, dynamic_literal, null

FUNCTIONS, _add = table("metadata")


def _column_ifexists(context: Context, name: Value, default: Value) -> Value:
    field = constant_in(name, str)
    if field is None:
        raise CallInvalid("name of column_ifexists() must be a string literal", 0)
    return context.columns.get(field, default)


def _cursor_current(context: Context) -> Value:
    return context.cursor if context.cursor is not None else null(STRING)


def _field_metadata(context: Context, name: Value, dataset: Value | None) -> Value:
    field = constant_in(name, str)
    if field is None:
        raise CallInvalid("name of field_metadata() must be a string literal", 0)
    place = None if dataset is None else constant_in(dataset, str)
    if dataset is not None and place is None:
        raise CallInvalid("dataset of field_metadata() must be a string literal", 1)
    known = context.metadata(field, place)
    return null(DYNAMIC) if known is None else dynamic_literal(dict(known))


def _ingestion_time(context: Context) -> Value:
    return context.columns.get("_sysTime", null(DATETIME))


# fmt: off
_add("column_ifexists columnifexists", "name:constant, default:any", "type of the field or the default",
     _column_ifexists, "The field of a name, else the default.", 'print column_ifexists("nobody_has_it", 0)', 0)
_add("cursor_current", "", STRING, _cursor_current, "The row's cursor; null where rows are of no dataset.",
     "print cursor_current()", None)
_add("field_metadata", "name:constant, dataset:constant?", DYNAMIC, _field_metadata,
     "What is known of a stored field: a dictionary of its `type`, and the `unit` and the `description` that it was "
     "given; null where events have no such field. Without a dataset it is one of those that the query reads.",
     'print field_metadata("nobody_has_it")', None)
_add("ingestion_time", "", DATETIME, _ingestion_time, "When the event was ingested, which is `_sysTime`.",
     "print ingestion_time()", None)
# fmt: on
