"""A lake of the golden data in as many files as it has events but one, which is in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from query.golden_kit import as_batch, datasets

from tailrace.lake import Lake, LakeSettings


def golden_lake(root: Path) -> Lake:
    """Return a lake in `root` with the golden data."""
    lake = Lake.open(root, LakeSettings())
    position = 0
    for name, lines in datasets().items():
        lake.create(name)
        for number, line in enumerate(lines, 1):
            position += 1
            lake.accept(position, as_batch(name, [line]))
            if number < len(lines):
                lake.commit_now(name)
    return lake


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    lake = golden_lake(tmp_path_factory.mktemp("spread") / "lake")
    yield lake
    lake.close(commit=False)
