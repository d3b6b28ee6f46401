"""A log that is begun anew hands out no position that tables know, as its events would be taken for those there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.object_stores import hurried
from support.shared_lakes import shared_stores, values

from tailrace.lake.used_positions import UNKNOWN, highest_position
from tailrace.log import ObjectLog, Subscription, deliver_nothing


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


def test_events_of_a_log_that_is_begun_anew_are_new_ones(tmp_path: Path) -> None:
    with shared_stores(tmp_path / "former") as former:
        lake = former.lake()
        for name in ("d", "e"):
            lake.create(name)
        for n in range(5):
            former.append("w1", n)
        former.append("w2", 5, "e")
        lake.commit_now()
        highest = {writer: highest_position(lake.catalog, writer) for writer in ("w1", "w2", "w3")}
        assert highest == {"w1": former.writers["w1"].durable_position, "w2": 2, "w3": 0}

    with shared_stores(tmp_path / "latter", tables=former.tables) as latter:  # with logs of its own
        subscription = Subscription(deliver_nothing, floor=highest["w1"])
        latter.writers["w1"] = ObjectLog.open(latter.logs, writer="w1", subscription=subscription)
        lake = latter.lake("d")
        latter.append("w1", 10)

        assert values(lake) == [0, 1, 2, 3, 4, 10]
        assert lake.log_damage == []


def test_where_a_table_cannot_be_read_positions_are_above_all_that_it_may_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with shared_stores(tmp_path / "former") as stores:
        lake = stores.lake()
        for name in ("d", "e"):
            lake.create(name)
            stores.append("w1", 1, name)
        lake.commit_now()
        stores.append("w1", 2, "e")
        lake.commit_now()
        versions = list((tmp_path / "former" / "tables" / "e" / "_delta_log").iterdir())
        contents = [file.read_bytes() for file in versions]
        for file in versions:
            file.write_bytes(b"{")

        floor = highest_position(lake.catalog, "w1")
    assert floor == 2 + UNKNOWN
    assert "in dataset 'e' is not known" in caplog.text

    for file, content in zip(versions, contents, strict=True):
        file.write_bytes(content)
    with shared_stores(tmp_path / "latter", tables=stores.tables) as latter:  # with logs of its own
        subscription = Subscription(deliver_nothing, floor=floor)
        latter.writers["w1"] = ObjectLog.open(latter.logs, writer="w1", subscription=subscription)
        lake = latter.lake("e")
        latter.append("w1", 10, "e")

        assert values(lake, "e") == [1, 2, 10]
