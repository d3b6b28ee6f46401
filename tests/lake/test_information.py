"""What a dataset says of itself: kept with it, changed durably."""

from pathlib import Path

import pytest

from tailrace.events import DatasetNotFound
from tailrace.lake import Lake


def test_what_was_said_at_creation_survives_a_restart(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path)
    made = lake.create("d", kind="otel:logs:v1", retention_days=7, use_retention_period=True, organisation="acme")
    lake.close()

    lake = Lake.open(tmp_path)
    assert lake.get("d") == made
    assert (made.kind, made.retention_days, made.use_retention_period) == ("otel:logs:v1", 7, True)
    assert lake.organisation("d") == "acme"
    assert lake.organisation("none") is None
    lake.close()


def test_the_primary_key_is_read_from_a_file_that_has_it_under_its_former_name(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path)
    made = lake.create("d", primary_key="_id")
    lake.close()
    file = tmp_path / "d" / "_tailrace" / "dataset.json"
    file.write_bytes(file.read_bytes().replace(b'"primaryKey"', b'"currentBy"'))

    lake = Lake.open(tmp_path)
    assert lake.get("d") == made
    assert lake.get("d").primary_key == "_id"
    lake.close()


def test_a_change_leaves_the_rest_and_survives_a_restart(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path)
    before = lake.create("d", description="first", retention_days=7)
    changed = lake.update("d", description="second")
    lake.close()

    lake = Lake.open(tmp_path)
    assert lake.get("d") == changed
    assert (changed.description, changed.retention_days, changed.created_ns) == ("second", 7, before.created_ns)
    assert changed.updated_ns > before.created_ns
    lake.close()


def test_a_dataset_that_is_not_there_cannot_be_changed(tmp_path: Path) -> None:
    lake = Lake.open(tmp_path)
    with pytest.raises(DatasetNotFound):
        lake.update("d", description="x")
    lake.close()
