"""`tailrace monitor`, `dashboard` and the other documents, `audit`, and lists for programs."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.commands import Ran, tailrace

if TYPE_CHECKING:
    from conftest import Server

DASHBOARD = {"name": "cli board", "owner": "X-AXIOM-EVERYONE", "charts": [], "layout": [], "refreshTime": 60,
             "schemaVersion": 2, "timeWindowStart": "qr-now-1h", "timeWindowEnd": "qr-now"}  # fmt: skip


def on(server: "Server", *arguments: str, stdin: str = "") -> Ran:
    return tailrace(*arguments, stdin=stdin, env={"TAILRACE_DATA": str(server.data)})


def document(noun: str, dataset: str) -> dict[str, Any]:
    documents: dict[str, dict[str, Any]] = {
        "monitor": {"name": "cli", "type": "Threshold", "aplQuery": f"['{dataset}'] | count", "operator": "Above",
                    "threshold": 1, "rangeMinutes": 5, "intervalMinutes": 5, "disabled": True},
        "notifier": {"name": "cli", "properties": {"email": {"emails": ["a@example.com"]}}},
        "dashboard": {"dashboard": DASHBOARD},
        "vfield": {"dataset": dataset, "name": "twice", "expression": "n * 2", "type": "int"},
        "view": {"name": f"view-of-{dataset}", "aplQuery": f"['{dataset}']", "datasets": [dataset]},
        "annotation": {"datasets": [dataset], "type": "deploy", "title": "cli"},
        "saved-query": {"name": "cli", "kind": "apl", "dataset": dataset, "query": {"apl": f"['{dataset}']"}},
    }  # fmt: skip
    return documents[noun]


@pytest.mark.parametrize("noun", ["monitor", "notifier", "dashboard", "vfield", "view", "annotation", "saved-query"])
def test_a_document_is_made_listed_shown_replaced_and_deleted(server: "Server", dataset: str, noun: str) -> None:
    body = document(noun, dataset)
    of = ["--dataset", dataset] if noun == "vfield" else []

    made = on(server, noun, "create", "-", stdin=json.dumps(body))
    assert made.returncode == 0, made.stderr
    document_id = made.stdout.strip()
    listed = json.loads(on(server, noun, "list", *of, "--format", "json").stdout)
    assert document_id in [str(each.get("id") or each.get("uid")) for each in listed] or noun == "dashboard"
    assert document_id in on(server, noun, "list", *of).stdout
    shown = on(server, noun, "show", document_id)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)
    replaced = {**body, "version": json.loads(shown.stdout)["version"]} if noun == "dashboard" else body
    updated = on(server, noun, "update", document_id, "-", stdin=json.dumps(replaced))
    assert updated.returncode == 0, updated.stderr

    unasked = on(server, noun, "delete", document_id)
    assert (unasked.returncode, "--yes" in unasked.stderr) == (2, True)
    assert on(server, noun, "delete", document_id, "--yes").returncode == 0
    gone = on(server, noun, "show", document_id)
    assert gone.returncode == 1
    assert f"`tailrace {noun} list`" in gone.stderr


def test_a_file_that_is_no_json_is_told(server: "Server", tmp_path: Path) -> None:
    file = tmp_path / "monitor.json"
    file.write_text("{")

    assert f"{file} is not JSON" in on(server, "monitor", "create", str(file)).stderr
    missing = on(server, "monitor", "create", str(tmp_path / "none"))
    assert (missing.returncode, "Invalid value for FILE" in missing.stderr) == (2, True)
    unreadable = on(server, "monitor", "create", str(tmp_path))
    assert (unreadable.returncode, unreadable.stderr) == (1, f"tailrace: cannot read {tmp_path}: Is a directory\n")


def test_the_audit_trail_shows_who_did_what(server: "Server", dataset: str) -> None:
    vacuumed = on(server, "dataset", "vacuum", dataset)
    assert vacuumed.stdout == "0 files became 0; removed from the disk: 0\n"

    rows = list(csv.DictReader(io.StringIO(on(server, "audit", "--start", "-1h", "--format", "csv").stdout)))

    assert {"createDataset", "vacuumDataset"} <= {row["action"] for row in rows if row["name"] == dataset}


def test_a_list_is_printed_for_programs(server: "Server", dataset: str) -> None:
    assert dataset in [each["name"] for each in json.loads(on(server, "dataset", "list", "--format", "json").stdout)]
    lines = on(server, "dataset", "list", "--format", "ndjson").stdout.splitlines()
    assert dataset in [json.loads(line)["name"] for line in lines]
    assert on(server, "user", "list", "--format", "csv").stdout.startswith("id,name,email,role\n")


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("viewer", ["GET /v2/monitors", "GET /v2/datasets"], ["GET /v2/tokens", "GET /metrics"]),
        ("editor", ["GET /v2/dashboards"], ["GET /v2/tokens"]),
        ("admin", ["GET /v2/tokens", "GET /v2/users", "GET /metrics"], []),
        ("metrics", ["GET /metrics"], ["GET /v2/monitors", "GET /v2/datasets"]),
        ("backup", ["DELETE /tailrace/v1/backups/none"], ["GET /metrics", "GET /v2/datasets"]),
    ],
)
def test_a_token_is_made_for_a_role(server: "Server", role: str, may: list[str], may_not: list[str]) -> None:
    made = on(server, "token", "create", f"cli {role}", "--role", role)
    assert made.returncode == 0, made.stderr
    headers = {"Authorization": f"Bearer {made.stdout.strip()}"}

    for route, allowed in [*((each, True) for each in may), *((each, False) for each in may_not)]:
        method, path = route.split()
        assert (server.client.request(method, path, headers=headers).status_code != 403) is allowed, route


def test_a_token_must_be_given_something(server: "Server") -> None:
    assert on(server, "token", "create", "nothing").returncode == 2
    made = on(server, "token", "create", "org", "--org", "monitors:read,update")
    assert made.returncode == 0, made.stderr


def test_events_are_deleted_after_they_were_counted(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"n": 1}, {"n": 2}, {"n": 3}])

    unasked = on(server, "dataset", "delete-events", f"['{dataset}'] | where n > 1")
    none = on(server, "dataset", "delete-events", f"['{dataset}'] | where n > 5", "--yes")
    wrong = on(server, "dataset", "delete-events", f"['{dataset}'] | where nn > 1", "--yes")
    done = on(server, "dataset", "delete-events", f"['{dataset}'] | where n > 1", "--yes")

    assert (unasked.returncode, "2 events" in unasked.stderr) == (2, True)
    assert none.stdout == "deleted 0 events: none is found\n"
    assert "no event has a field 'nn'" in wrong.stderr
    assert (done.returncode, done.stdout) == (0, "deleted 2 events\n"), done.stderr
    assert server.sql(f'SELECT n FROM "{dataset}"') == [{"n": 1}]
    assert on(server, "dataset", "vacuum", dataset).returncode == 0
