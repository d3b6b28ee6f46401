"""A lake that follows logs of other processes: what includes what was acknowledged before waits for them."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from support.events import batch
from support.lakes import numbers

from tailrace.events import DatasetNotFound, Overloaded, ShuttingDown
from tailrace.lake import Lake


class Others:
    """Other processes, of whose logs one batch is accepted at each catch-up."""

    def __init__(self, lake: Lake) -> None:
        self.caught_up = self.drops = 0
        self._lake = lake
        lake.follow(self.catch_up, self.note_drop)

    def catch_up(self) -> None:
        self.caught_up += 1
        self._lake.accept(self.caught_up, batch([{"n": self.caught_up}]), "w1")

    def note_drop(self) -> None:
        self.drops += 1


CALLS: dict[str, Callable[[Lake], Any]] = {
    "snapshot": lambda lake: numbers(lake.snapshot("d")),
    "commit_now": lambda lake: lake.commit_now(),
    "trim": lambda lake: lake.trim("d", 0),
    "delete_where": lambda lake: lake.delete_where("d", lambda file, view: pa.array([], pa.int64()), dry_run=True),
    "compact": lambda lake: lake.compact("d"),
    "create": lambda lake: lake.create("e"),
}


def test_what_includes_what_was_acknowledged_before_begins_with_a_catch_up(lake: Lake) -> None:
    others = Others(lake)
    for number, (name, call) in enumerate(CALLS.items(), 1):
        answer = call(lake)
        assert others.caught_up == number, name
        if name == "snapshot":
            assert answer == [1]
    lake.drop("d")
    assert (others.caught_up, others.drops) == (len(CALLS) + 1, 1)


def test_events_from_before_a_drop_are_not_in_the_dataset_that_has_the_name_next(lake: Lake) -> None:
    others = Others(lake)
    lake.drop("d")
    lake.create("d")
    before = others.caught_up
    assert numbers(lake.snapshot("d")) == [before + 1]


def test_a_drop_that_is_refused_is_noted_too(lake: Lake) -> None:
    others = Others(lake)
    with pytest.raises(DatasetNotFound):
        lake.drop("unknown")
    assert others.drops == 1


def test_who_cannot_catch_up_says_so(lake: Lake) -> None:
    def refuse() -> None:
        raise Overloaded("events are still being read")

    lake.follow(refuse, lambda: None)
    with pytest.raises(Overloaded):
        lake.snapshot("d")
    lake.follow(lambda: None, lambda: None)


def test_a_replay_waits_for_capacity_until_the_lake_closes(lake: Lake) -> None:
    lake.accept(1, batch([{"n": 1}]))
    lake.wait_for_capacity(1)
    assert lake.backlog_bytes == 0
    lake.close()
    with pytest.raises(ShuttingDown):
        lake.wait_for_capacity(0)
