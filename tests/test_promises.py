"""Promises of the design that are about how the code works, not about what it answers."""

import ast
from pathlib import Path

import pytest
from support.events import RECEIVED_NS, batch

import tailrace
from tailrace.lake.fields import Fields
from tailrace.lake.shred import Shredder
from tailrace.native.shredder import NativeShredder
from tailrace.parsing import Limits, TimeRule, parse_json

EVENTS = [
    {"n": number, "http": {"status": 200}, "ms": number / 4, "tags": ["a"], "by": "x" if number % 2 else {"id": number}}
    for number in range(2000)
]
READS_OR_WRITES = {"http", "httpx", "io", "os", "pathlib", "shutil", "socket", "sqlite3", "subprocess"}


def test_a_batch_of_known_fields_is_shredded_without_a_look_at_single_events(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = Fields()
    shredder = Shredder(fields, NativeShredder())
    for _ in range(2):
        shredder.shred([batch(EVENTS)])

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a single event was looked at")

    monkeypatch.setattr("tailrace.lake.exact.leaves", fail)

    assert shredder.shred([batch(EVENTS)]).num_rows == len(EVENTS)


@pytest.mark.parametrize("shape", ["array", "ndjson"])
def test_a_valid_body_is_split_without_a_look_at_single_events(monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    lines = batch(EVENTS).events
    body = lines if shape == "ndjson" else b"[" + lines[:-1].replace(b"\n", b",") + b"]"

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a single event was looked at")

    for function in ("sanitize", "is_event"):
        monkeypatch.setattr(f"tailrace.parsing.malformed.{function}", fail)

    parsed = parse_json(body, times=TimeRule(), limits=Limits(), received_ns=RECEIVED_NS)

    assert (parsed.count, parsed.events) == (len(EVENTS), lines)


def test_a_protocol_does_no_io() -> None:
    for path in (Path(tailrace.__file__).parent / "protocols").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            used = {name.split(".")[0] for name in names} & READS_OR_WRITES
            assert not used, f"{path.name} imports {used}"
            assert not (isinstance(node, ast.Name) and node.id == "open"), f"{path.name} opens a file"
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "asyncio":
                assert node.attr in ("gather", "sleep"), f"{path.name} uses asyncio.{node.attr}"
