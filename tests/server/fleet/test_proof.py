"""A fleet under load whose nodes are killed, paused and stopped, on a store that fails now and then."""

from pathlib import Path

import pytest
from bench.fleet import Plan, run
from rich.console import Console


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_was_acknowledged_is_there_once_and_every_answer_is_right(process: None, tmp_path: Path) -> None:
    outcome = run(Plan(seconds=20, spoil_every_s=3), tmp_path, Console(quiet=True))

    assert outcome.faults == []
    assert outcome.events > 0
    assert outcome.spoiled.total() > 0
    assert outcome.checks > outcome.unanswered
