"""The import of the databases of version 0.1, ended by SIGKILL at any line of it, or by a power cut after any call."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from crash.power import Recorder, cut
from support.databases import load, stored_rows
from support.rounds import rounds

from tailrace.storage.database import FILE_NAME
from tailrace.storage.legacy import ACCESS_FILE, SAVED_FILE, import_legacy

KILLS = rounds(8)
CUTS = rounds(15)

# Imports the directories that it is given, each in a process that ends with SIGKILL where the n-th line is met that
# was not before; 0 is never. Prints how many there were, or the signal.
KILLED = """
import os, signal, sys
from pathlib import Path
import alembic.command
from tailrace.storage import database, files, legacy

def run(data, moment):
    met = set()
    def trace(frame, event, argument):
        if frame.f_code.co_filename not in (database.__file__, files.__file__, legacy.__file__):
            return None
        if event == "line":
            met.add((frame.f_code, frame.f_lineno))
            if len(met) == moment:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    legacy.import_legacy(Path(data))
    sys.settrace(None)
    print(len(met), flush=True)

for data, moment in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
    child = os.fork()
    if not child:
        run(data, moment)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        print(-os.WTERMSIG(status), flush=True)
"""


def killed(*runs: tuple[Path, int]) -> list[int]:
    arguments = [str(each) for run in runs for each in run]
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def make(data: Path) -> Path:
    """Return a data directory of version 0.1."""
    data.mkdir()
    for name in (ACCESS_FILE, SAVED_FILE):
        load(data / name, f"0.1-{name.removesuffix('.db')}.sql")
    return data


def rows(path: Path) -> dict[str, list[Any]]:
    """All rows of a database, by table, but for the notes of imports, which have a time."""
    return stored_rows(path, without=("imports",))


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, list[Any]]:
    """Return what an import comes to that nothing ends."""
    import_legacy(make(tmp_path / "whole"))
    return rows(tmp_path / "whole" / FILE_NAME)


def check(data: Path, whole: dict[str, list[Any]], told: str) -> None:
    """Assert that what there is, is whole, and that the next start makes it so."""
    if (data / FILE_NAME).exists():
        assert rows(data / FILE_NAME) == whole, told
    import_legacy(data)
    assert rows(data / FILE_NAME) == whole, told
    names = {path.name for path in data.iterdir() if not path.name.endswith(("-wal", "-shm"))}
    assert names == {"access.db.imported", "saved.db.imported", "tailrace.db"}, told
    shutil.rmtree(data)


@pytest.mark.rounds
def test_a_kill_at_any_line_of_an_import_loses_and_doubles_nothing(tmp_path: Path, whole: dict[str, list[Any]]) -> None:
    (lines,) = killed((make(tmp_path / "all"), 0))
    chance = random.Random(20261129)
    moments = [chance.randint(1, lines) for _ in range(KILLS - 1)] + [lines]
    runs = [(make(tmp_path / f"killed-{number}"), moment) for number, moment in enumerate(moments)]

    assert killed(*runs) == [-9] * len(runs)

    for data, moment in runs:
        check(data, whole, f"killed at line {moment} of {lines}")


@pytest.mark.rounds
def test_a_power_cut_at_any_moment_of_an_import_loses_and_doubles_nothing(
    tmp_path: Path, whole: dict[str, list[Any]]
) -> None:
    record = Recorder(make(tmp_path / "data"))
    with record.recording():
        import_legacy(tmp_path / "data")
    chance = random.Random(20261130)

    for number in range(CUTS):
        moment, seed = chance.randrange(len(record.steps)), chance.randrange(2**32)
        cut(record, moment, random.Random(seed), tmp_path / f"cut-{number}")
        step = record.steps[moment].call
        check(tmp_path / f"cut-{number}", whole, f"cut after {step!r}, with seed {seed}")
