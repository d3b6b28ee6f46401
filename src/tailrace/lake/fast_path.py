"""The schema of the fast path, made from the field registry: structs that validate events, and SQL that splits them up.

The msgspec structs refuse any field and any type that the registry has no column for. Events that they accept are
encoded again, which removes duplicate keys before DuckDB's `from_json` reads them (DuckDB would take the first, JSON
parsers the last). With that, `from_json` is exact: every value that it reads is in its structure, with the right type.
"""

import json
import re
from typing import Annotated, Any

import msgspec

from tailrace.lake.fields import TIME, Fields
from tailrace.lake.leaves import INT64_MAX, INT64_MIN
from tailrace.lake.snapshot import PhysicalColumn

_Int64 = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]
_LEAF_TYPES: dict[str, Any] = {
    "boolean": bool,
    "integer": _Int64,
    "float": float,
    "string": str,
    "array": list[msgspec.Raw],
}
_DUCKDB_TYPES = {"boolean": "BOOLEAN", "integer": "BIGINT", "string": "VARCHAR", "array": "JSON"}
# TRY_CAST, because DuckDB may evaluate a branch of CASE for rows that do not take it.
_EXTRACT_BY_TYPE = {
    "boolean": "CASE WHEN json_type({0}) = 'BOOLEAN' THEN TRY_CAST({0} AS BOOLEAN) END",
    "integer": "CASE WHEN json_type({0}) IN ('BIGINT', 'UBIGINT') THEN TRY_CAST({0} AS BIGINT) END",
    "float": "CASE WHEN json_type({0}) = 'DOUBLE' THEN TRY_CAST({0} AS DOUBLE) END",
    "string": "CASE WHEN json_type({0}) = 'VARCHAR' THEN {0} ->> '$' END",
    "array": "CASE WHEN json_type({0}) = 'ARRAY' THEN {0} END",
}

EVENTS = "events"  # the name under which DuckDB finds the batch; its one column is `event`


class _FieldNode:
    """A key in the tree of the dataset's fields."""

    __slots__ = ("children", "columns")

    def __init__(self) -> None:
        self.children: dict[str, _FieldNode] = {}
        self.columns: dict[str, PhysicalColumn] = {}

    def at(self, keys: tuple[str, ...]) -> "_FieldNode":
        node = self
        for key in keys:
            node = node.children.setdefault(key, _FieldNode())
        return node

    def holds_columns(self) -> bool:
        return bool(self.columns) or any(child.holds_columns() for child in self.children.values())


class FastPathSchema:
    """The structs and the SQL for one state of the registry."""

    def __init__(self, fields: Fields) -> None:
        root = _FieldNode()
        for keys in fields.null_paths:
            root.at(keys)
        for column in fields.columns:
            root.at(column.keys).columns[column.type] = column
        self.version = fields.version
        self.decoder = msgspec.json.Decoder(_struct(root, time=True, closed=True))
        self._root = root
        self._open_decoder: msgspec.json.Decoder[Any] | None = None
        self.columns: list[PhysicalColumn] = []  # in the order of the columns that `sql` gives
        self.sql = _sql(root, self.columns)
        self.rest_sql = _rest_sql(root)
        self._duplicate_keys = _DuplicateKeys(root)

    @property
    def open_decoder(self) -> msgspec.json.Decoder[Any]:
        """Accepts fields without a column, but refuses other types at those that have one."""
        if self._open_decoder is None:
            self._open_decoder = msgspec.json.Decoder(_struct(self._root, time=True, closed=False))
        return self._open_decoder

    def may_duplicate_objects(self, lines: list[bytes]) -> set[int]:
        """Return the lines in which the key of an object may be duplicate: `rest_sql` would read the first one only."""
        return self._duplicate_keys.find(lines)


_ASCII_ESCAPE = re.compile(rb"\\u00[0-7]")
_ANY_ESCAPE = re.compile(rb"\\u")
_SPACED_COLON = re.compile(rb'"[ \t\r]+:')


class _DuplicateKeys:
    """Finds keys that may be duplicate by counting their text; what could hide one counts as one."""

    def __init__(self, root: _FieldNode) -> None:
        objects: set[str] = set()
        nodes = [root]
        while nodes:
            node = nodes.pop()
            objects.update(key for key, child in node.children.items() if child.children)
            nodes.extend(node.children.values())
        self._keys = [msgspec.json.encode(key) + b":" for key in objects]
        escape = _ASCII_ESCAPE if all(key.isascii() for key in objects) else _ANY_ESCAPE
        self._hiding = (escape, _SPACED_COLON)

    def find(self, lines: list[bytes]) -> set[int]:
        if not self._keys:
            return set()
        found: set[int] = set()
        whole = b"\n".join(lines)
        for pattern in self._hiding:
            if pattern.search(whole):
                found.update(row for row, line in enumerate(lines) if pattern.search(line))
        for key in self._keys:
            found.update(row for row, line in enumerate(lines) if line.count(key) > 1)
        return found


def _struct(node: _FieldNode, *, time: bool, closed: bool) -> Any:
    members: list[tuple[str, Any, Any]] = []
    names: dict[str, str] = {}
    children = [(key, _leaf(child, closed) | None | msgspec.UnsetType) for key, child in node.children.items()]
    if time:
        children.append((TIME, msgspec.Raw))
    for number, (key, kind) in enumerate(children):
        members.append((f"f{number}", kind, msgspec.UNSET))
        names[f"f{number}"] = key
    return msgspec.defstruct("Event", members, rename=names, forbid_unknown_fields=closed, omit_defaults=True, gc=False)


def _leaf(node: _FieldNode, closed: bool) -> Any:
    kinds: list[Any] = [_LEAF_TYPES[value_type] for value_type in node.columns]
    if "float" in node.columns and "integer" not in node.columns:
        raise AssertionError("a float column always has an integer sibling: msgspec reads 1 as 1.0")
    if node.children:
        kinds.append(_struct(node, time=False, closed=closed))
    union = kinds[0] if kinds else type(None)
    for kind in kinds[1:]:
        union = union | kind
    return union


def _sql(root: _FieldNode, columns: list[PhysicalColumn]) -> str | None:
    """Return the SELECT that turns `events` into columns, or None where the registry has none yet.

    A path with several types is read as JSON and extracted by its `json_type`; an object among other types is read by
    a `from_json` of its own, one level of sub-select out.
    """
    selects: list[str] = []
    structure = {}
    later: list[tuple[str, _FieldNode]] = [("event", root)]
    source = EVENTS
    aliases = 0
    while later:
        now, later = later, []
        layer: list[str] = []
        for value, node in now:
            alias = f"object_{aliases}"
            aliases += 1
            structure = _structure(node, alias, selects, columns, later)
            only_objects = value if node is root else f"CASE WHEN json_type({value}) = 'OBJECT' THEN {value} END"
            if structure:
                layer.append(f"from_json({only_objects}, {_literal(json.dumps(structure))}) AS {alias}")
        if not layer:
            break
        source = f"(SELECT *, {', '.join(layer)} FROM {source})"
    if not selects:
        return None
    return f"SELECT {', '.join(selects)} FROM {source}"


def _structure(
    node: _FieldNode, value: str, selects: list[str], columns: list[PhysicalColumn], later: list[tuple[str, _FieldNode]]
) -> dict[str, Any]:
    structure: dict[str, Any] = {}
    for key, child in node.children.items():
        if not child.holds_columns():
            continue
        reference = f"{value}.{_identifier(key)}"
        if not child.columns:
            structure[key] = _structure(child, reference, selects, columns, later)
            continue
        types = list(child.columns)
        only = types[0] if len(types) == 1 and not child.children else None
        structure[key] = _DUCKDB_TYPES[only] if only else "JSON"
        for value_type, column in child.columns.items():
            expression = reference if only else _EXTRACT_BY_TYPE[value_type].format(reference)
            selects.append(f"{expression} AS c{len(columns)}")
            columns.append(column)
        if any(grandchild.holds_columns() for grandchild in child.children.values()):
            later.append((reference, child))
    return structure


def _rest_sql(root: _FieldNode) -> str:
    """Return the SELECT that takes what has a column out of each event.

    An object whose members all have columns, or that the event does not have, is left empty.
    """

    def patch(node: _FieldNode) -> dict[str, Any]:
        return {
            key: patch(child) if child.children else None
            for key, child in node.children.items()
            if child.holds_columns()
        }

    nulls = json.dumps({TIME: None, **patch(root)})
    return f"SELECT json_merge_patch(event, {_literal(nulls)}) AS rest FROM {EVENTS}"


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
