"""A data directory of every released version opens: its events, its log, its keys and tokens, and all that was made."""

import json
import re
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from upgrade.make import COMMITS, send

from tailrace import __version__

if TYPE_CHECKING:
    from conftest import MakeServer, Server

HERE = Path(__file__).parent
CHANGES = HERE.parents[1] / "CHANGELOG.md"
RELEASED = re.findall(r"^## (\d\S*)", CHANGES.read_text(), re.MULTILINE)
EARLIER = RELEASED[RELEASED.index(__version__) + 1 :]
CHANGED = {  # members that this version shows in another way than the one that made the directory
    "0.1.0": {"/tailrace/v1/keys": {"dialect"}},
}


def test_every_earlier_version_has_its_directory() -> None:
    assert [version for version in EARLIER if not (HERE / f"{version}.tar.xz").is_file()] == [], "see make.py"
    assert set(COMMITS) >= set(EARLIER)


def extracted(version: str, into: Path) -> Path:
    with tarfile.open(HERE / f"{version}.tar.xz") as packed:
        packed.extractall(into, filter="data")
    return into / "data"


@pytest.fixture(params=sorted(COMMITS))
def version(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.mark.slow
def test_a_directory_of_an_earlier_version_opens_with_all_that_it_held(
    version: str, make_server: "MakeServer", tmp_path: Path
) -> None:
    held = json.loads((HERE / f"{version}.json").read_text())
    secrets = held["secrets"]
    data = extracted(version, tmp_path)
    server = make_server(data=data, env={"TAILRACE_ROOT_TOKEN": secrets["owner"]}).start()

    assert {query: server.sql(query) for query in held["queries"]} == held["queries"]
    for path, made in held["resources"].items():
        left_out = CHANGED.get(version, {}).get(path, set())
        assert missing(made, server.client.get(path).json(), left_out) == [], path
    # Keys and tokens are those that clients have.
    headers = {"Authorization": f"Bearer {secrets['token']}"}
    assert server.ingest("web", [{"n": 100}], headers=headers).json()["ingested"] == 1
    send(server.client, secrets, range(30, 40))
    assert server.sql("SELECT count(*) AS n FROM web") == [{"n": 41}]
    assert server.sql("SELECT count(*) AS n FROM shop") == [{"n": 40}]
    assert server.sql('SELECT "metadata.plan.seats" AS seats FROM "calls-users"') == [{"seats": 32}]
    assert server.stop() == 0
    again(server)


def again(server: "Server") -> None:
    """Start once more: what the upgrade made is there."""
    server.start()
    assert server.sql("SELECT count(*) AS n FROM web") == [{"n": 41}]


def missing(made: list[dict[str, Any]], shown: list[dict[str, Any]], left_out: set[str]) -> list[Any]:
    """Return what was made and is not shown as it was; members that came later do not count."""
    found = {each.get("id") or each.get("name"): each for each in shown}
    gone = []
    for each in made:
        now = found.get(each.get("id") or each.get("name"), {})
        gone += [
            (name, value, now.get(name))
            for name, value in each.items()
            if name not in left_out and now.get(name) != value
        ]
    return gone
