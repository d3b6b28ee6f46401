"""A lake with an empty dataset `d`, which commits when asked to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.lakes import NEVER

from tailrace.lake import Lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    lake = Lake.open(tmp_path, NEVER)
    lake.create("d")
    yield lake
    lake.close(commit=False)
