"""Fixtures: a dataset of files that a test writes, with an engine over them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from query.files_kit import FileDesk


@pytest.fixture
def files(tmp_path: Path) -> Iterator[FileDesk]:
    desk = FileDesk(tmp_path)
    yield desk
    desk.close()
