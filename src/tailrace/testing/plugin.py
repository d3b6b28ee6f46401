"""The plugin of pytest: the fixtures `tailrace` and `tailrace_server`, wherever Tailrace is installed."""

from collections.abc import Iterator, Mapping

import pytest

from tailrace import testing


@pytest.fixture(scope="session")
def tailrace_settings() -> Mapping[str, object]:
    """Return the settings of the run's server by name; a project's own fixture of this name chooses others."""
    return {}


@pytest.fixture(scope="session")
def tailrace_server(tailrace_settings: Mapping[str, object]) -> "Iterator[testing.TailraceServer]":
    """Yield a server for the whole run, started for the first test that asks for it."""
    with testing.run_server(tailrace_settings) as server:
        yield server


@pytest.fixture
def tailrace(tailrace_server: "testing.TailraceServer") -> "testing.TailraceServer":
    """Return the run's server, emptied for the test."""
    tailrace_server.reset()
    return tailrace_server
