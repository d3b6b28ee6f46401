"""Servers for the tests of other projects: vendors' clients, set as their variables say, and what comes back."""

import os
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import axiom_py
import httpx
import pytest
from moesifapi.models import EventModel, EventRequestModel
from moesifapi.moesif_api_client import Configuration, MoesifAPIClient
from support.commands import tailrace as command_line
from support.waiting import wait_until

from tailrace.testing import EventsMissing, ServerNotStarted, TailraceServer, run_server

pytestmark = pytest.mark.process


def test_the_plugin_brings_nothing_along_that_a_run_may_not_need() -> None:
    code = "import sys, tailrace.testing.plugin; print({'httpx', 'msgspec', 'numpy'} & set(sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.slow
def test_pytest_finds_the_plugin() -> None:
    (found,) = [entry for entry in metadata.entry_points(group="pytest11") if entry.name == "tailrace"]

    assert found.value == "tailrace.testing.plugin"


def test_axioms_client_finds_the_server_by_its_variables(
    tailrace: TailraceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in tailrace.environment("axiom", "logs").items():
        monkeypatch.setenv(name, value)
    client = axiom_py.Client()

    client.ingest_events("logs", [{"_time": "2026-03-05T10:11:12Z", "n": 1, "http": {"status": 200}, "gone": None}])

    sent = {"_time": "2026-03-05T10:11:12Z", "n": 1, "http.status": 200}
    assert tailrace.wait_for_events("logs") == [sent]
    assert tailrace.query("logs | summarize n = count() by http.status") == [{"http.status": 200, "n": 1}]


def test_moesifs_client(tailrace: TailraceServer, monkeypatch: pytest.MonkeyPatch) -> None:
    given = tailrace.environment("moesif", "calls")
    monkeypatch.setattr(Configuration, "BASE_URI", given["MOESIF_BASE_URI"])
    request = EventRequestModel(
        time="2026-08-16T09:21:56Z", uri="https://api.example.com/items", verb="GET", headers={}
    )

    MoesifAPIClient(given["MOESIF_APPLICATION_ID"]).api.create_event(EventModel(request=request))

    (call,) = tailrace.wait_for_events("calls")
    assert (call["request.verb"], call["event_type"]) == ("GET", "api_call")


def test_a_session_of_datamix(tailrace: TailraceServer) -> None:
    given = tailrace.environment("datamix")
    opened = httpx.post(f"{given['DATAMIX_URL']}/sessions", json={"key": given["DATAMIX_KEY"]}).json()

    message = {"level": "warn", "timestamp": time.time_ns() // 1_000_000, "message": "hello"}
    destination = given["DATAMIX_DESTINATION"]
    logs = {"session": opened["token"], "messages": [message]}
    httpx.post(f"{given['DATAMIX_URL']}/destinations/{destination}/logs", json=logs).raise_for_status()

    assert [event["message"] for event in tailrace.wait_for_events(destination)] == ["hello"]


def test_baselimes_key_is_for_every_dataset(tailrace: TailraceServer) -> None:
    given = tailrace.environment("baselime")

    headers = {"x-api-key": given["BASELIME_API_KEY"]}
    httpx.post(f"{given['BASELIME_URL']}/orders", json=[{"message": "paid"}], headers=headers).raise_for_status()

    assert [event["message"] for event in tailrace.wait_for_events("orders")] == ["paid"]


@pytest.mark.slow
def test_baselimes_sdk_finds_the_server_by_its_variables(tailrace: TailraceServer) -> None:
    program = (
        "from baselime.opentelemetry import configure_opentelemetry; configure_opentelemetry()\n"
        "from opentelemetry import trace\n"
        "with trace.get_tracer('t').start_as_current_span('outer'): pass\n"
        "trace.get_tracer_provider().shutdown()\n"
    )
    variables = {**os.environ, **tailrace.environment("baselime"), "OTEL_SERVICE_NAME": "shop"}

    subprocess.run([sys.executable, "-c", program], env=variables, check=True, timeout=60)

    assert [span["name"] for span in tailrace.wait_for_events("otel")] == ["outer"]


def test_a_reset_leaves_nothing(tailrace: TailraceServer) -> None:
    key = tailrace.key("baselime")
    httpx.post(f"{tailrace.url}/baselime/v1/a", json=[{"n": 1}], headers={"x-api-key": key}).raise_for_status()

    tailrace.reset()

    assert (tailrace.datasets(), tailrace.events("a"), tailrace.refusals()) == ([], [], [])
    assert tailrace.key("baselime") != key


def test_events_that_do_not_come_are_told_with_what_was_refused(tailrace: TailraceServer) -> None:
    tailrace.create_dataset("orders")
    headers = {"Authorization": f"Bearer {tailrace.token}"}
    httpx.post(f"{tailrace.url}/v1/datasets/logs/ingest", json=[{}], headers=headers)
    httpx.post(f"{tailrace.url}/v1/datasets/orders/ingest", json=[{"n": 1}], headers=headers).raise_for_status()

    with pytest.raises(EventsMissing) as missing:
        tailrace.wait_for_events("logs", 2, timeout_s=0)

    first, *others = str(missing.value).splitlines()
    assert first == "0 of 2 events came to the dataset 'logs' within 0 s"
    assert others[0] == "in the dataset 'orders': 1"
    assert others[1].startswith("refused: POST /v1/datasets/logs/ingest: 404 dataset 'logs' not found")


@pytest.mark.slow
def test_another_server_is_there_within_a_second(tailrace_server: TailraceServer, tmp_path: Path) -> None:
    began_s = time.monotonic()
    with run_server({"max_events": 1}, data=tmp_path) as server:
        took_s = time.monotonic() - began_s
        headers = {"Authorization": f"Bearer {server.token}"}
        server.create_dataset("logs")
        answer = httpx.post(f"{server.url}/v1/datasets/logs/ingest", json=[{}, {}], headers=headers)

    assert server.url != tailrace_server.url
    assert answer.status_code == 413  # which the setting says
    assert (tmp_path / "lake").is_dir()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz")
    assert took_s < 5, "0.3 s, where nothing else runs"


@pytest.mark.slow
def test_settings_that_cannot_be_are_told() -> None:
    with (
        pytest.raises(ServerNotStarted, match="unknown flag --max-evnts; did you mean --max-events"),
        run_server({"max_evnts": 1}),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("is_forked", [True, False])
def test_a_server_ends_with_the_process_that_has_it(is_forked: bool) -> None:
    program = f"""
import os, signal
from tailrace.testing.running import run_server
with run_server(is_forked={is_forked}) as server:
    print(server.url, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    url = done.stdout.strip()

    def is_gone() -> bool:
        try:
            httpx.get(f"{url}/healthz")
        except httpx.TransportError:
            return True
        return False

    wait_until(is_gone)


@pytest.mark.slow
def test_a_project_has_the_fixtures_without_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(
        "import axiom_py\n"
        "def send(tailrace, number):\n"
        "    client = axiom_py.Client(tailrace.token, url=tailrace.url)\n"
        "    client.ingest_events(tailrace.create_dataset('logs'), [{'n': number}])\n"
        "    assert [event['n'] for event in tailrace.wait_for_events('logs')] == [number]\n"
        "def test_one(tailrace): send(tailrace, 1)\n"
        "def test_two(tailrace): send(tailrace, 2)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )

    assert ran.returncode == 0, ran.stdout
    assert "2 passed" in ran.stdout


@pytest.mark.slow
def test_a_command_beside_a_server(tmp_path: Path) -> None:
    program = (
        "import os, sys, httpx\n"
        "url, token = os.environ['AXIOM_URL'], os.environ['AXIOM_TOKEN']\n"
        "headers = {'Authorization': f'Bearer {token}'}\n"
        "answer = httpx.post(f'{url}/v1/datasets/shop/ingest', json=[{}], headers=headers)\n"
        f"open({str(tmp_path / 'found')!r}, 'w').write(f'{{answer.status_code}} {{os.getppid()}} {{url}}')\n"
        "sys.exit(3)\n"
    )

    ran = command_line("exec", "--dataset", "shop", "--", sys.executable, "-c", program)

    assert ran.returncode == 3, ran.stderr
    status, owner, url = (tmp_path / "found").read_text().split()
    assert (status, int(owner)) == ("200", os.getpid())
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    ran = command_line("exec", "--", str(tmp_path / "absent"))

    assert ran.returncode == 127
    assert "no such command" in ran.stderr
