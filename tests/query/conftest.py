"""Fixtures: a lake with an engine over it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from query.kit import Desk

from tailrace.query import QueryLimits


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**limits: Any) -> Desk:
        desks.append(Desk(tmp_path / str(len(desks)), QueryLimits(**limits)))
        return desks[-1]

    yield make
    for each in desks:
        each.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    return open_desk()
