"""A fleet of processes: any node answers any request, and one that ends takes nothing along."""

import itertools
import os
import signal
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from support.fleet_servers import ServerFleet
from support.s3 import Proxy, S3Server
from support.tls import LOCAL, authority, issued, needs_openssl, replace_files, self_signed, shown_at
from support.waiting import wait_until

from tailrace.fleet.nodes import NodeRole, Nodes
from tailrace.storage.database import Database

if TYPE_CHECKING:
    from conftest import MakeServer, Server

DATASETS = [f"d-{number}" for number in range(4)]


class Sender:
    """Sends numbered events, and knows which were acknowledged."""

    def __init__(self) -> None:
        self.sent = {dataset: list[int]() for dataset in DATASETS}
        self._next = 0

    def send(self, node: "Server") -> None:
        """Send an event to each dataset at a node."""
        for dataset in DATASETS:
            self.send_one(node, dataset)

    def send_one(self, node: "Server", dataset: str) -> None:
        """Send an event; raise AssertionError where it is refused."""
        assert self.try_one(node, dataset, node.client) == ""

    def try_one(self, node: "Server", dataset: str, client: httpx.Client) -> str:
        """Send an event; return why it is refused, nothing where it is not."""
        self._next += 1
        headers = {"Authorization": f"Bearer {node.token}"}
        try:
            answer = client.post(f"{node.url}/v1/datasets/{dataset}/ingest", json=[{"n": self._next}], headers=headers)
        except httpx.TransportError as error:
            return repr(error)
        if answer.status_code == 200:
            self.sent[dataset].append(self._next)
        return "" if answer.status_code == 200 else answer.text


def found(node: "Server") -> dict[str, list[int]]:
    """Return what a node has of all datasets."""
    return {dataset: _numbers(node, dataset) for dataset in DATASETS}


def _numbers(node: "Server", dataset: str) -> list[int]:
    return [row["n"] for row in node.sql(f'SELECT n FROM "{dataset}" ORDER BY n')]


@pytest.fixture
def fleet(make_server: "MakeServer", s3: S3Server, proxy: Proxy, postgres_url: str) -> ServerFleet:
    return ServerFleet(make_server, s3, postgres_url)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_any_node_answers_any_request_and_a_killed_one_takes_nothing_along(fleet: ServerFleet) -> None:
    fleet.start(lake=2, ingest=2, query=1)
    nodes, sender = fleet.nodes, Sender()
    for number, dataset in enumerate(DATASETS):
        fleet.create(dataset, list(nodes)[number % len(nodes)])

    for node in nodes.values():
        sender.send(node)
        for reader in nodes.values():
            assert found(reader) == sender.sent

    keyed = [node.ingest("d-0", [{"n": 0}], headers={"Idempotency-Key": "once"}).status_code for node in nodes.values()]
    assert keyed == [200] * len(nodes)
    sender.sent["d-0"].insert(0, 0)
    assert found(nodes["query-0"]) == sender.sent

    for killed, other in (("lake-0", "ingest-0"), ("ingest-1", "ingest-0"), ("query-0", "lake-1")):
        nodes[killed].kill()
        for _ in range(3):
            sender.send(nodes[other])
        wait_until(lambda other=other: _answers(nodes[other], sender))  # type: ignore[misc]
        nodes[killed].launch_unready()
        wait_until(lambda killed=killed: _answers(nodes[killed], sender))  # type: ignore[misc]
        sender.send(nodes[killed])
    assert {name: found(node) for name, node in nodes.items()} == dict.fromkeys(nodes, sender.sent)

    nodes["ingest-0"].client.delete("/v2/datasets/d-3").raise_for_status()
    assert {node.ingest("d-3", [{"n": 1}]).status_code for node in nodes.values()} == {404}
    for node in nodes.values():
        assert node.stop() == 0, node.errors.read_text()


def _answers(node: "Server", sender: Sender) -> bool:
    """Return whether a node answers queries of all datasets, which then must be right."""
    try:
        answers = [
            node.client.post("/tailrace/v1/sql", json={"sql": f'SELECT n FROM "{dataset}" ORDER BY n'})
            for dataset in DATASETS
        ]
    except httpx.TransportError:
        return False
    if any(answer.status_code == 503 for answer in answers):
        assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
        return False
    rows = {
        dataset: [row["n"] for row in answer.json()["rows"]] for dataset, answer in zip(DATASETS, answers, strict=True)
    }
    assert rows == sender.sent
    return True


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nodes_are_restarted_one_after_the_other_without_a_refused_event(fleet: ServerFleet) -> None:
    fleet.start(lake=2, ingest=2, query=1)
    nodes, sender = fleet.nodes, Sender()
    for dataset in DATASETS:
        fleet.create(dataset, "ingest-0")

    with _balanced(nodes, sender):
        for name in ("ingest-0", "ingest-1", "lake-0", "lake-1", "query-0"):
            assert nodes[name].stop() == 0, nodes[name].errors.read_text()
            nodes[name].launch_unready()
            wait_until(lambda name=name: nodes[name].client.get("/readyz").status_code == 200)  # type: ignore[misc]

    assert min(len(each) for each in sender.sent.values()) > 20
    for node in nodes.values():
        assert found(node) == sender.sent


@contextmanager
def _balanced(nodes: "dict[str, Server]", sender: Sender) -> Iterator[None]:
    """Send to the nodes that are ready, one after the other, as a load balancer does, for as long as this lasts."""
    ending = threading.Event()
    failures: list[str] = []

    def run() -> None:
        turns = ((dataset, item) for dataset in itertools.cycle(DATASETS) for item in nodes.items())
        with httpx.Client(timeout=30, trust_env=False) as client:
            while not ending.is_set():
                dataset, (name, node) = next(turns)
                if _is_ready(node) and (failure := sender.try_one(node, dataset, client)):
                    failures.append(f"{name}: {failure}")

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
    assert failures == []


def _is_ready(node: "Server") -> bool:
    try:
        return httpx.get(f"{node.url}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_node_has_of_events_in_no_table_ends_with_their_commit(
    make_server: "MakeServer", s3: S3Server, proxy: Proxy, postgres_url: str
) -> None:
    fleet = ServerFleet(make_server, s3, postgres_url, "--commit-age-s=0.2")
    fleet.start(lake=1)
    node = fleet.nodes["lake-0"]
    for dataset in ("d-0", "d-1"):
        fleet.create(dataset, "lake-0")
    assert node.ingest("d-0", [{"n": 0}], headers={"Idempotency-Key": "once"}).status_code == 200
    stored = 0

    def is_less() -> bool:
        nonlocal stored
        stored += 1
        node.ingest("d-1", [{"n": stored}])  # as events of one dataset in a row end together
        waiting: int = node.ingest("d-0", [{"n": stored}]).json()["walLength"]
        return waiting < stored

    assert not is_less()
    wait_until(is_less, 120)
    assert (node.data / "idempotency.keys").stat().st_size > 8


@needs_openssl
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_node_that_ends_leaves_no_copy_of_its_private_key(fleet: ServerFleet, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "node.example.com")
    node = fleet.node("lake", 0, f"--tls-certificate={certificate}", f"--tls-key={key}").launch_unready()
    assert len(list(node.data.glob("tls/*/key.pem"))) == 1

    assert node.stop() == 0, node.errors.read_text()
    assert not (node.data / "tls").exists()


@needs_openssl
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nodes_speak_tls_to_one_another_and_reload_certificates_and_settings(
    make_server: "MakeServer", s3: S3Server, proxy: Proxy, postgres_url: str, tmp_path: Path
) -> None:
    issuer = authority(tmp_path / "authority")
    certificate, key = issued(tmp_path / "node", issuer, "old", LOCAL)
    config = tmp_path / "fleet.toml"
    config.write_text('request_log = "refused"')
    files = [
        f"--tls-certificate={certificate}",
        f"--tls-key={key}",
        f"--config={config}",
        f"--fleet-tls-ca={issuer[0]}",
    ]
    files += [f"--fleet-tls-certificate={certificate}", f"--fleet-tls-key={key}"]
    trusted = ssl.create_default_context(cafile=issuer[0])
    fleet = ServerFleet(make_server, s3, postgres_url, *files, verify=trusted)
    fleet.start(lake=2, ingest=1)
    nodes, sender = fleet.nodes, Sender()
    for dataset in DATASETS:
        fleet.create(dataset, "ingest-0")  # which a lake node does

    def all_answer() -> bool:
        return all(_answers(node, sender) for node in nodes.values())

    for node in nodes.values():
        sender.send(node)
        assert "tailrace_fleet_tls_certificate_not_after_seconds " in node.client.get("/metrics").text
    wait_until(all_answer)

    ports = [int(node.url.rpartition(":")[2]) for node in nodes.values()]
    with Database.open(postgres_url) as database:
        known = Nodes(database, name="", role=NodeRole.QUERY, url="", lease_s=1).live().values()
    ports += [int(node.flight_url.rpartition(":")[2]) for node in known if node.flight_url]
    assert [shown_at(port) for port in ports] == [{"old"}] * 5
    replace_files(certificate, key, issued(tmp_path / "new", issuer, "new", LOCAL))
    config.write_text('request_log = "all"\ncommit_age_s = 20')
    for node in nodes.values():
        os.kill(node.pid, signal.SIGHUP)

    wait_until(lambda: [shown_at(port) for port in ports] == [{"new"}] * 5)
    said = "reloaded request_log; changed too, and for the next start: commit_age_s"
    for node in nodes.values():
        wait_until(lambda node=node: said in node.errors.read_text())  # type: ignore[misc]
        sender.send(node)
        wait_until(lambda node=node: "/ingest 200" in node.errors.read_text())  # type: ignore[misc]
    wait_until(all_answer)
    nodes["ingest-0"].client.delete("/v2/datasets/d-3").raise_for_status()
    for node in nodes.values():
        assert node.stop() == 0, node.errors.read_text()
