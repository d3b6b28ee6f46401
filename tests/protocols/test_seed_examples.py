"""Every example request of Axiom's two documents, as printed but for the names, run by bash and curl."""

# ruff: noqa: E501 - the commands stand as printed

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support import axiom_bodies

if TYPE_CHECKING:
    from conftest import Server

SIX_KEYS = ["ingested", "failed", "failures", "processedBytes", "blocksCreated", "walLength"]

UNNAMED_DATASET = r"""
curl -X POST '$YOUR_AXIOM_URL/api/v1/ingest' \
  -H 'Authorization: Bearer $INGEST_TOKEN or $PERSONAL_TOKEN' \
  -H 'Content-Type: application/x-ndjson' \
  -d "{  \"description\": \"string\",  \"name\": \"string\",  \"scopes\": [    \"string\"  ]}"
"""

OLD_NDJSON = r"""
curl -X 'POST' '$YOUR_AXIOM_URL/api/v1/datasets/neil-cmc/ingest' \
  -H 'Authorization: Bearer $INGEST_TOKEN or $PERSONAL_TOKEN' \
  -H 'Content-Type: application/x-ndjson' -H 'x-axiom-org-id: axiom' \
  -d '{ "path": "/download", "method": "POST", "duration_ms": 231, "res_size_bytes": 3012, "endpoint":"/foo" }'
"""

OLD_NDJSON_CONTAINER = r"""
curl -X 'POST' '$YOUR_AXIOM_URL/api/v1/datasets/neil-cmc/ingest' \
  -H 'Authorization: Bearer $INGEST_TOKEN or $PERSONAL_TOKEN' \
  -H 'Content-Type: application/x-ndjson' -H 'x-axiom-org-id: axiom' \
  -d '{"container": {"image": "front:master.0326.5","name": "tunnel-front"},"labels": {"component": "tunnel","pod-template-hash": "75f5666499"},"namespace": "kube-system","node": {"name": "32068356-vmss000002"},"pod": {"name": "fnxln","uid": "f0bdea4e57"},"replicaset": {"name": "75f5666499"}}}'
"""

OLD_JSON = (
    r"""

curl -X 'POST' '$YOUR_AXIOM_URL/api/v1/datasets/neil-cmc/ingest' \
  -H 'Authorization: Bearer $INGEST_TOKEN' \
  -H 'Content-Type: application/json' -H 'x-axiom-org-id: axiom' \
  -d '"""
    + axiom_bodies.GROUPED_OLD
    + "'\n"
)

OLD_GROUPED = (
    r"""
curl -X 'POST' '$YOUR_AXIOM_URL/api/v1/datasets/neil-cmc/ingest' \
  -H 'Authorization: Bearer $INGEST_TOKEN or $PERSONAL_TOKEN' \
  -H 'Content-Type: application/json' -H 'x-axiom-org-id: axiom' \
  -d '"""
    + axiom_bodies.LABELS
    + "'\n"
)

OLD_CSV = r"""
curl -X 'POST' '$YOUR_AXIOM_URL/api/v1/datasets/neil-cmc/ingest' \
  -H 'Authorization: Bearer $INGEST_TOKEN or $PERSONAL_TOKEN' \
  -H 'Content-Type: text/csv' -H 'x-axiom-org-id: axiom' \
  -d '['name', 'area', 'country_code2', 'country_code3']'
"""

GROUPED = (
    r"""
curl -X 'POST' 'https://AXIOM_DOMAIN/v1/ingest/DATASET_NAME' \
  -H 'Authorization: Bearer API_TOKEN' \
  -H 'Content-Type: application/json' \
  -d '"""
    + axiom_bodies.GROUPED
    + "'\n"
)

NESTED_ARRAYS = (
    r"""
curl -X 'POST' 'https://AXIOM_DOMAIN/v1/ingest/DATASET_NAME' \
    -H 'Authorization: Bearer API_TOKEN' \
    -H 'Content-Type: application/json' \
    -d '"""
    + axiom_bodies.NESTED_ARRAYS
    + "'\n"
)

MIXED = r"""
curl -X 'POST' 'https://AXIOM_DOMAIN/v1/ingest/DATASET_NAME' \
    -H 'Authorization: Bearer API_TOKEN' \
    -H 'Content-Type: application/json' \
    -d '[{ "axiom": {
        "logging": {
            "observability": [
                { "apl": 23, "function": "tostring" },
                { "apl": 24, "operator": "summarize" }
            ],
            "axiom": [
                { "stream": "livetail", "datasets": [4, 0, 16], "logging": "observability", "metrics": 8, "dashboard": 10, "alerting": "kubernetes" }
            ]
        },
        "apl": {
            "reference":
                [[80, 12], [30, 40]]
        }
    }
    }]'
"""

NDJSON = r"""
curl -X 'POST' 'https://AXIOM_DOMAIN/v1/ingest/DATASET_NAME' \
    -H 'Authorization: Bearer API_TOKEN' \
    -H 'Content-Type: application/x-ndjson' \
    -d '{"id":1,"name":"machala"}
        {"id":2,"name":"axiom"}
        {"id":3,"name":"apl"}
        {"index": {"_index": "products"}}
        {"timestamp": "2016-06-06T12:00:00+02:00", "attributes": {"key1": "value1","key2": "value2"}}
        {"queryString": "count()"}'
"""

CSV = r"""
curl -X 'POST' 'https://AXIOM_DOMAIN/v1/ingest/DATASET_NAME' \
    -H 'Authorization: Bearer API_TOKEN' \
    -H 'Content-Type: text/csv' \
    -d 'user, name
        foo, bar'
"""

LABELLED_EVENTS = [
    {
        "labels.author": "System1",
        "labels.model": "whip.log",
        "events": [
            {"timestamp": "2020-05-04T11:00:00+06:00", "elements": {"foo": "bar"}},
            {
                "timestamp": "2020-05-04T12:00:01+03:00",
                "attributes": {"status": "202", "address": "/src.php"},
            },
        ],
    },
    {
        "labels.author": "System2",
        "labels.model": "whip.log",
        "events": [{"timestamp": "2020-05-04T13:00:02+02:00", "attributes": {"key2": "value2"}}],
    },
    {
        "labels.author": "System3",
        "labels.model": "whip.log",
        "events": [{"timestamp": "2020-05-04T14:00:03+02:00", "attributes": {"key3": "value3", "status": "200"}}],
    },
]


def body_of(command: str, document: str = "'") -> str:
    """Return the body as the shell hands it to curl, read off the printed command."""
    return command.split(f"-d {document}", 1)[1].rstrip("\n")[: -len(document)]


def run(server: "Server", command: str, dataset: str, token: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON of an example's answer, with the names filled in."""
    for printed, name in {
        "$YOUR_AXIOM_URL": server.url,
        "https://AXIOM_DOMAIN": server.url,
        "$INGEST_TOKEN or $PERSONAL_TOKEN": token,
        "$INGEST_TOKEN": token,
        "API_TOKEN": token,
        "neil-cmc": dataset,
        "DATASET_NAME": dataset,
    }.items():
        command = command.replace(printed, name)
    command = command.strip() + r" --silent --show-error --max-time 30 --write-out '\n%{http_code}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


def stored(server: "Server", dataset: str) -> list[dict[str, Any]]:
    """Return the dataset's events as flat fields, in no order; times and fields without a value left out."""
    system = ("_time", "_sysTime", "_rest")
    found = []
    for row in server.sql(f'SELECT * FROM "{dataset}"'):
        fields = {**row, **(row.get("_rest") or {})}
        found.append({name: value for name, value in fields.items() if name not in system and value is not None})
    return found


def in_any_order(events: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(event, sort_keys=True) for event in events)


EXAMPLES = [
    pytest.param(
        OLD_NDJSON,
        104,
        [{"path": "/download", "method": "POST", "duration_ms": 231, "res_size_bytes": 3012, "endpoint": "/foo"}],
        id="2021-ndjson",
    ),
    pytest.param(
        OLD_NDJSON_CONTAINER,  # printed with one closing brace too many
        288,
        [
            {
                "container.image": "front:master.0326.5",
                "container.name": "tunnel-front",
                "labels.component": "tunnel",
                "labels.pod-template-hash": "75f5666499",
                "namespace": "kube-system",
                "node.name": "32068356-vmss000002",
                "pod.name": "fnxln",
                "pod.uid": "f0bdea4e57",
                "replicaset.name": "75f5666499",
            }
        ],
        id="2021-container",
    ),
    pytest.param(
        OLD_JSON,
        219,
        [
            {"time": "2021-23-04302:11:23.222Z", "data.key1": "value1", "data.key2": "value2"},
            {"data.key3": "value3", "labels.key4": "value4"},
        ],
        id="2021-json",
    ),
    pytest.param(OLD_GROUPED, 885, LABELLED_EVENTS, id="2021-labels"),
    pytest.param(OLD_CSV, 42, [], id="2021-csv"),  # bash takes the inner quotes: one row of names
    pytest.param(
        GROUPED,
        219,
        [
            {"time": "2025-01-12T00:00:00.000Z", "data.key1": "value1", "data.key2": "value2"},
            {"data.key3": "value3", "labels.key4": "value4"},
        ],
        id="grouped",
    ),
    pytest.param(NESTED_ARRAYS, 1741, None, id="nested-arrays"),
    pytest.param(
        MIXED,
        490,
        [
            {
                "axiom.logging.observability": [
                    {"apl": 23, "function": "tostring"},
                    {"apl": 24, "operator": "summarize"},
                ],
                "axiom.logging.axiom": [
                    {
                        "stream": "livetail",
                        "datasets": [4, 0, 16],
                        "logging": "observability",
                        "metrics": 8,
                        "dashboard": 10,
                        "alerting": "kubernetes",
                    }
                ],
                "axiom.apl.reference": [[80, 12], [30, 40]],
            }
        ],
        id="mixed",
    ),
    pytest.param(
        NDJSON,
        266,
        [
            {"id": 1, "name": "machala"},
            {"id": 2, "name": "axiom"},
            {"id": 3, "name": "apl"},
            {"index._index": "products"},
            {
                "timestamp": "2016-06-06T12:00:00+02:00",
                "attributes.key1": "value1",
                "attributes.key2": "value2",
            },
            {"queryString": "count()"},
        ],
        id="ndjson",
    ),
    pytest.param(CSV, 27, [{"user": "foo", "name": "bar"}], id="csv"),
]


@pytest.mark.parametrize(("command", "processed_bytes", "events"), EXAMPLES)
def test_a_documented_request_works_as_printed(
    server: "Server", dataset: str, command: str, processed_bytes: int, events: list[dict[str, Any]] | None
) -> None:
    if events is None:
        events = json.loads(body_of(command))
    status, answer = run(server, command, dataset, server.api_token(dataset))

    assert status == 200
    assert list(answer) == SIX_KEYS
    assert answer == {
        "ingested": len(events),
        "failed": 0,
        "failures": [],
        "processedBytes": processed_bytes,
        "blocksCreated": 0,
        "walLength": len(events),
    }
    assert in_any_order(stored(server, dataset)) == in_any_order(events)


def test_a_documented_request_works_with_a_personal_token_on_the_old_route(server: "Server", dataset: str) -> None:
    status, answer = run(server, OLD_NDJSON, dataset, server.token)

    assert (status, answer["ingested"]) == (200, 1)


def test_the_route_without_a_dataset_takes_the_only_one_of_an_api_token(server: "Server", dataset: str) -> None:
    status, answer = run(server, UNNAMED_DATASET, dataset, server.api_token(dataset))

    assert status == 200
    assert (list(answer), answer["ingested"], answer["processedBytes"]) == (SIX_KEYS, 1, 75)
    assert stored(server, dataset) == [{"description": "string", "name": "string", "scopes": ["string"]}]


def test_the_route_without_a_dataset_refuses_a_personal_token(server: "Server", dataset: str) -> None:
    status, answer = run(server, UNNAMED_DATASET, dataset, server.token)

    assert status == 400
    assert answer["code"] == 400
    assert "no dataset is named" in answer["message"]


def test_the_current_route_refuses_personal_tokens(server: "Server", dataset: str) -> None:
    status, answer = run(server, GROUPED, dataset, server.token)

    assert status == 403
    assert answer["code"] == 403
    assert "API tokens only" in answer["message"]
    assert stored(server, dataset) == []


def test_the_number_of_uncommitted_events_grows_with_each_request(server: "Server", dataset: str) -> None:
    token = server.api_token(dataset)

    lengths = [run(server, command, dataset, token)[1]["walLength"] for command in (GROUPED, NESTED_ARRAYS, MIXED)]

    assert lengths == [2, 3, 4]
