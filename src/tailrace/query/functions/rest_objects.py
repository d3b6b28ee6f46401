"""Objects out of an event's rest: the JSON of what has no column, whose keys are whole paths."""

import functools
from typing import Any

import msgspec

from tailrace.query.functions.udf import udf
from tailrace.query.values import STRING

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


@udf("apl_inside", [STRING, STRING, STRING], STRING)
def rest_object(rest: str, name: str, nesting: str) -> str | None:
    """Return the object of a name out of the JSON text of an event's rest, whose keys are whole paths; null where it
    has none.

    `nesting` is a JSON object: the keys below the name of each path that does not end at its dots.
    """
    tree: dict[str, Any] = {}
    _gather(_members.decode(rest), name, _keys_of(nesting), tree)
    return msgspec.json.encode(tree).decode() if tree else None


@functools.lru_cache(maxsize=16)
def _keys_of(nesting: str) -> dict[str, list[str]]:
    return msgspec.json.decode(nesting, type=dict[str, list[str]])


def _gather(members: dict[str, msgspec.Raw], name: str, nesting: dict[str, list[str]], tree: dict[str, Any]) -> None:
    prefix = name + "."
    for path in sorted(members):  # so that a value stands before what is below its name
        raw = members[path]
        is_object = bytes(raw)[:1] == b"{"
        if path.startswith(prefix):
            _place(tree, nesting.get(path) or path.removeprefix(prefix).split("."), raw)
        elif path == name and is_object:
            for key, value in _members.decode(raw).items():
                _place(tree, [key], value)
        elif is_object and name.startswith(path + "."):  # an event that is kept as it came
            _gather(_members.decode(raw), name.removeprefix(path + "."), nesting, tree)


def _place(tree: dict[str, Any], keys: list[str], raw: msgspec.Raw) -> None:
    for depth, key in enumerate(keys[:-1]):
        below = tree.setdefault(key, {})
        if not isinstance(below, dict):
            tree[".".join(keys[depth:])] = raw
            return
        tree = below
    tree[keys[-1]] = raw
