"""A fleet is backed up while it works, and restored as one process and as another fleet."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import Engine
from support.commands import tailrace
from support.fleet_servers import ROOT_TOKEN, ServerFleet
from support.postgres import dump, load, postgres_database
from support.s3 import Proxy, S3Server
from support.waiting import wait_until

from tailrace.server.table_store import OWNER
from tailrace.storage.object_files import open_s3

if TYPE_CHECKING:
    from conftest import MakeServer, Server

NAMES = [f"d-{number}" for number in range(3)]


class Load:
    """Sends numbered events to nodes, and knows which were acknowledged."""

    def __init__(self, *nodes: "Server") -> None:
        self.acknowledged: dict[str, set[int]] = {name: set() for name in NAMES}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=each) for each in zip(nodes, NAMES, strict=True)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, node: "Server", name: str) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            answer = node.ingest(name, [{"n": number}])
            assert answer.status_code == 200, answer.text
            self.acknowledged[name].add(number)


def numbers(server: "Server") -> dict[str, list[int]]:
    return {name: [row["n"] for row in server.sql(f'SELECT n FROM "{name}" ORDER BY n')] for name in NAMES}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_what_was_acknowledged_before_a_backup_is_restored_as_one_process_and_as_a_fleet(
    make_server: "MakeServer", s3: S3Server, proxy: Proxy, postgres: Engine, postgres_url: str, tmp_path: Path
) -> None:
    fleet = ServerFleet(make_server, s3, postgres_url, "--commit-age-s=1")
    fleet.start(lake=2, ingest=2)
    nodes, place = fleet.nodes, str(tmp_path / "place")
    for name in NAMES:
        fleet.create(name, "lake-0")
    api_token = nodes["ingest-0"].api_token(*NAMES, query=True)

    with Load(nodes["ingest-0"], nodes["ingest-1"], nodes["lake-0"]) as load_:
        wait_until(lambda: min(len(each) for each in load_.acknowledged.values()) > 20)
        dumped = dump(postgres_url)
        before = {name: set(each) for name, each in load_.acknowledged.items()}
        done = tailrace("backup", place, env={"TAILRACE_URL": nodes["ingest-1"].url, "TAILRACE_TOKEN": ROOT_TOKEN})
        assert (done.returncode, "pg_dump" in done.stderr) == (0, True), done.stderr
    for node in nodes.values():
        assert node.stop() == 0, node.errors.read_text()

    def check(server: "Server") -> dict[str, list[int]]:
        found = numbers(server)
        for name, several in found.items():
            assert len(several) == len(set(several))
            assert before[name] <= set(several) <= load_.acknowledged[name] | {max(load_.acknowledged[name]) + 1}
        return found

    with ExitStack() as stack:
        for_one, for_fleet = (stack.enter_context(postgres_database(postgres)) for _ in range(2))
        for url in (for_one, for_fleet):
            load(dumped, url)

        alone = tmp_path / "alone"
        assert tailrace("restore", place, "--data", str(alone)).returncode == 0
        one = make_server(f"--database-url={for_one}", data=alone, env={"TAILRACE_ROOT_TOKEN": ROOT_TOKEN}).start()
        check(one)
        assert one.stop() == 0

        other = ServerFleet(make_server, s3, for_fleet)
        tables = f"{other.url}/tables"
        restored = tailrace("restore", place, "--data", str(tmp_path / "scratch"), "--storage", tables)
        assert restored.returncode == 0, restored.stderr
        open_s3(tables).delete([OWNER])
        other.start(lake=2, ingest=2)  # under the names that tables know
        found = check(other.nodes["ingest-0"])
        for number, node in enumerate(other.nodes.values()):
            node.token = api_token
            for name in NAMES:
                headers = {"Authorization": f"Bearer {api_token}"}
                assert node.ingest(name, [{"n": 10**6 + number}], headers=headers).status_code == 200
                found[name].append(10**6 + number)
        assert [numbers(node) for node in other.nodes.values()] == [found] * 4
        for node in other.nodes.values():
            assert "tailrace_log_missing_positions 0.0" in node.client.get("/metrics").text
            assert node.stop() == 0, node.errors.read_text()
