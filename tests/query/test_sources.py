"""A dataset's rows as an engine reads them."""

import pytest

from tailrace.events import DatasetUnavailable
from tailrace.lake import DataFile
from tailrace.query.sources import rows


def test_a_file_that_is_known_to_be_damaged_is_not_read_and_the_others_are() -> None:
    sound = DataFile("sound.parquet", "/lake/d/sound.parquet", 1, 1, 0, 0, frozenset({"n"}))
    location = "/lake/d/damaged.parquet"
    damaged = DataFile("damaged.parquet", location, 1, 1, 0, 0, frozenset({"n"}), damage="its content changed")

    assert "sound.parquet" in rows([sound], None, {"n": "BIGINT"}).sql("duckdb")
    with pytest.raises(DatasetUnavailable, match="its content changed") as refused:
        rows([sound, damaged], None, {"n": "BIGINT"})
    assert refused.value.status == 503
    assert "/lake" not in refused.value.message
