"""The inputs that the fuzz targets begin with, and what they found: through the built library, and with sanitizers."""

import json
import subprocess
from pathlib import Path

import pytest
from support import fuzz_targets

from tailrace.native.scanner import IS_NOT_UTF8, Bounds, Names, scanner
from tailrace.native.shredder import TYPES, NativeShredder

NAMES = Names(columns=(b"_time", b"t"), reserved=(b"_rest",))
BOUNDS = Bounds(max_depth=100, max_name_bytes=200, max_string_bytes=1000, max_event_bytes=10_000)
COLUMN_TYPES = TYPES[: TYPES.index("null")]


@pytest.mark.parametrize("path", fuzz_targets.inputs("scan"), ids=lambda path: path.name)
def test_what_is_scanned_is_json(path: Path) -> None:
    body = path.read_bytes()[1:]
    scan = scanner(NAMES, BOUNDS, max_events=1000)
    assert scan is not None
    for is_array in (False, True):
        found = scan.scan(body, is_array=is_array)
        if found is not None:
            lines = scan.lines(body, found).splitlines()
            assert len(lines) == found.count
            for line in lines:
                assert isinstance(json.loads(line.decode(errors="replace")), dict)


@pytest.mark.parametrize("path", fuzz_targets.inputs("shred"), ids=lambda path: path.name)
def test_what_is_shredded_is_valid(path: Path) -> None:
    scan = scanner(NAMES, BOUNDS, max_events=1000)
    assert scan is not None
    body = path.read_bytes()[2:]
    found = scan.scan(body, is_array=False)
    if found is None or found.flags & IS_NOT_UTF8:
        return  # nothing of it would be shredded
    text = scan.lines(body, found)
    shredder = NativeShredder(max_nodes=64)
    for _ in range(2):
        at = 0
        while at < len(text):
            read = shredder.read(text[at:], text.count(b"\n", at))
            assert read.rows
            for number, values in enumerate(shredder.unplaced(1)):
                if number % 2 and values.type in COLUMN_TYPES:
                    shredder.place(values.path, values.type)
            columns, rest = shredder.columns()
            for column in (*columns.values(), *([] if rest is None else [rest])):
                column.validate(full=True)
                assert len(column) == read.rows
            at += read.bytes


@pytest.mark.process
@pytest.mark.costly
@pytest.mark.parametrize("target", fuzz_targets.TARGETS)
def test_sanitizers_find_nothing(target: str, tmp_path: Path) -> None:
    if not fuzz_targets.has_sanitizers("cc", tmp_path):
        pytest.skip("no C compiler with sanitizers")
    program = fuzz_targets.compile_target(target, tmp_path, "cc", fuzz_targets.SANITIZED, fuzzer=False)

    done = subprocess.run([program, *fuzz_targets.inputs(target)], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert f"{len(fuzz_targets.inputs(target))} inputs" in done.stdout
