"""Make the archive of a data directory of a released version: `python tests/upgrade/make.py VERSION`.

It runs that version's own code, from the history, with the libraries that are installed, and kills it, so that some
events are in its log alone. Beside the archive is what the directory holds: secrets, and what the server answered.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
COMMITS = {"0.1.0": "cbc3e5215ee9d4cb778ac630493a33967e48debf"}  # the last one of each released version
OWNER = "xapt-of-the-owner-of-an-earlier-version"
QUERIES = (  # in SQL, whose answers no version changes
    'SELECT _time, n, level, "http.status" AS status, tags FROM web ORDER BY n',
    "SELECT count(*) AS n, sum(n) AS sum FROM web",
    'SELECT message, "$baselime.namespace" AS namespace FROM shop ORDER BY message',
    'SELECT level, message FROM "batch.publisher.staging" ORDER BY message',
    'SELECT user_id, "metadata.plan.name" AS plan, "metadata.plan.seats" AS seats FROM "calls-users" ORDER BY user_id',
    'SELECT "request.verb" AS verb, user_id FROM calls ORDER BY user_id',
)
RESOURCES = (  # lists of the management API
    "/v2/datasets", "/v2/monitors", "/v2/notifiers", "/v2/dashboards", "/v2/annotations", "/v2/vfields?dataset=web",
    "/v2/users", "/v2/tokens", "/v2/apl-starred-queries", "/tailrace/v1/keys",
)  # fmt: skip


def main(version: str) -> None:
    """Write the archive of a version and what it holds."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        source = directory / "source"
        source.mkdir()
        archive = subprocess.run(["git", "archive", COMMITS[version], "src"], cwd=ROOT, check=True, capture_output=True)
        subprocess.run(["tar", "x"], cwd=source, input=archive.stdout, check=True)
        data = directory / "data"
        held = fill(source / "src", data)
        for name in ("lock", "server.json"):
            (data / name).unlink(missing_ok=True)
        shutil.rmtree(data / "temporary", ignore_errors=True)
        with tarfile.open(HERE / f"{version}.tar.xz", "w:xz") as packed:
            packed.add(data, "data")
        (HERE / f"{version}.json").write_text(json.dumps(held, indent=1, sort_keys=True) + "\n")


def fill(source: Path, data: Path) -> dict[str, Any]:
    """Run the version in a source tree on a directory, twice, and return what the directory then holds."""
    process, client = start(source, data)
    secrets = make(client)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    process, client = start(source, data)
    send(client, secrets, range(20, 30))  # which are in its log alone
    held = {
        "secrets": secrets,
        "queries": {query: client.post("/tailrace/v1/sql", json={"sql": query}).json()["rows"] for query in QUERIES},
        "resources": {path: client.get(path).json() for path in RESOURCES},
    }
    process.kill()
    process.wait()
    return held


def start(source: Path, data: Path) -> tuple["subprocess.Popen[str]", httpx.Client]:
    """Start a server of a source tree, which commits when it stops only."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TAILRACE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tailrace", "serve", f"--data={data}", "--port=0", "--commit-age-s=3600"],
        env={**clean, "PYTHONPATH": str(source), "TAILRACE_ROOT_TOKEN": OWNER},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"is ready at (\S+)", line)
    assert found is not None, line
    return process, httpx.Client(base_url=found[1], headers={"Authorization": f"Bearer {OWNER}"}, timeout=60)


def post(client: httpx.Client, path: str, body: Any, **headers: str) -> Any:
    """Return the JSON of what a body is answered."""
    answer = client.post(path, json=body, headers=headers)
    assert answer.is_success, f"{path}: {answer.text}"
    return answer.json()


def make(client: httpx.Client) -> dict[str, str]:
    """Make one of everything, send events, and return the secrets."""
    post(
        client,
        "/v2/datasets",
        {"name": "web", "description": "web logs", "retentionDays": 36500, "useRetentionPeriod": True},
    )
    rights = {"web": {"ingest": ["create"], "query": ["read"]}}
    secrets = {
        "owner": OWNER,
        "token": post(client, "/v2/tokens", {"name": "app", "datasetCapabilities": rights})["token"],
    }
    for protocol, scope in (
        ("baselime", {"datasets": ["shop"]}),
        ("datamix", {"destination": "batch.publisher.staging"}),
        ("moesif", {"dataset": "calls"}),
    ):
        # The member that every version knows.
        secrets[protocol] = post(client, "/tailrace/v1/keys", {"dialect": protocol, "name": protocol, **scope})["key"]
    notifier = post(
        client, "/v2/notifiers", {"name": "hook", "properties": {"webhook": {"url": "http://127.0.0.1:9/hook"}}}
    )
    monitor = {
        "name": "errors", "aplQuery": "web | where level == 'error' | summarize count()", "type": "Threshold",
        "operator": "Above", "threshold": 5, "intervalMinutes": 60, "rangeMinutes": 60, "notifierIds": [notifier["id"]],
        "disabled": True,
    }  # fmt: skip
    post(client, "/v2/monitors", monitor)
    post(
        client,
        "/v2/annotations",
        {"type": "deploy", "datasets": ["web"], "title": "1.2.3", "time": "2026-03-05T10:00:00Z"},
    )
    post(
        client,
        "/v2/vfields",
        {"dataset": "web", "name": "is_error", "expression": "level == 'error'", "type": "boolean"},
    )
    dashboard = {
        "name": "Web", "owner": "X-AXIOM-EVERYONE", "layout": [], "refreshTime": 60, "schemaVersion": 2,
        "charts": [{"id": "errors", "name": "Errors", "type": "TimeSeries", "query": {"apl": "web | count"}}],
        "timeWindowStart": "qr-now-1h", "timeWindowEnd": "qr-now",
    }  # fmt: skip
    post(client, "/v2/dashboards", {"dashboard": dashboard})
    post(client, "/v2/apl-starred-queries", {"name": "Errors", "query": {"apl": "web | where level == 'error'"}})
    post(client, "/v2/users", {"name": "Ada", "email": "ada@example.com", "role": "user"})
    send(client, secrets, range(20))
    return secrets


def send(client: httpx.Client, secrets: dict[str, str], numbers: range) -> None:
    """Send an event of each number by each protocol."""
    events = [
        {
            "_time": f"2026-03-05T10:11:{n:02}.5Z", "n": n, "level": ["info", "error"][n % 2],
            "http": {"status": 200 + n}, "tags": ["a", {"b": n}],
        }
        for n in numbers
    ]  # fmt: skip
    post(client, "/v1/datasets/web/ingest", events)
    messages = [{"message": f"m{n}", "namespace": "prod", "price": n / 4} for n in numbers]
    post(client, "/baselime/v1/shop", messages, **{"x-api-key": secrets["baselime"]})
    session = post(client, "/datamix/sessions", {"key": secrets["datamix"]})["token"]
    now_ms = time.time_ns() // 1_000_000
    logs = [{"level": "warn", "timestamp": now_ms, "message": f"m{n}"} for n in numbers]
    post(client, "/datamix/destinations/batch.publisher.staging/logs", {"session": session, "messages": logs})
    moesif = {"X-Moesif-Application-Id": secrets["moesif"]}
    for n in numbers[:3]:
        call = {
            "request": {"time": f"2026-03-05T10:11:{n:02}Z", "uri": "https://a.example.com/", "verb": "GET"},
            "user_id": f"u{n}",
        }
        post(client, "/moesif/v1/events", call, **moesif)
        post(client, "/moesif/v1/users", {"user_id": "u0", "metadata": {"plan": {"name": "free"}}}, **moesif)
        post(client, "/moesif/v1/users", {"user_id": "u0", "metadata": {"plan": {"seats": n}}}, **moesif)


if __name__ == "__main__":
    main(sys.argv[1])
