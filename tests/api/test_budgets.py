"""The budget of a token over HTTP: set, spent by every kind of query, seen."""

from typing import TYPE_CHECKING, Any

import pytest
from support import http
from support.waiting import stay_within_a_day

if TYPE_CHECKING:
    from conftest import Server


@pytest.fixture(autouse=True)
def _day() -> None:
    stay_within_a_day()


def ask(server: "Server", token: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    method = "GET" if body is None else "POST"
    return http.request(method, server.url + path, headers=headers, **({} if body is None else {"json": body}))


def test_queries_are_refused_once_it_is_spent(server: "Server", dataset: str) -> None:
    assert server.ingest(dataset, [{"n": number} for number in range(10)]).status_code == 200
    rights = {dataset: {"query": ["read"], "ingest": ["create"]}}
    spec = {"name": "agent", "datasetCapabilities": rights, "budget": {"rowsPerDay": 25, "bytesPerDay": 1e6}}
    made = server.client.post("/v2/tokens", json=spec).json()
    assert made["budget"] == {"rowsPerDay": 25, "bytesPerDay": 1e6}
    assert server.client.get(f"/v2/tokens/{made['id']}").json()["budget"] == made["budget"]
    apl = {"apl": f"['{dataset}']", "startTime": "now-1h"}

    assert ask(server, made["token"], "/v1/datasets/_apl?format=tabular", apl).status_code == 200
    assert ask(server, made["token"], "/tailrace/v1/sql", {"sql": f'SELECT * FROM "{dataset}"'}).status_code == 200
    state = ask(server, made["token"], "/tailrace/v1/budget").json()
    assert (state["used"]["rows"], state["left"]["rows"]) == (20, 5)
    assert 0 < state["used"]["bytes"] < 1e6
    assert state["used"]["seconds"] > 0
    loki = f'/loki/api/v1/query_range?query={{dataset="{dataset}"}}'
    assert ask(server, made["token"], loki).status_code == 200  # begun within it, answered whole

    for path, body in (
        ("/v1/datasets/_apl?format=tabular", apl),
        (f"/v1/datasets/{dataset}/query", {"startTime": "now-1h", "endTime": "now"}),
        ("/tailrace/v1/sql", {"sql": "SELECT 1"}),
        (loki, None),
    ):
        refused = ask(server, made["token"], path, body)
        assert (refused.status_code, "budget of this token" in refused.text) == (429, True), path
    assert server.ingest(dataset, [{"n": 1}], headers={"Authorization": f"Bearer {made['token']}"}).status_code == 200

    # Another secret is no other budget; a larger one is there at once, and so is none.
    end = {"existingTokenExpiresAt": "2100-01-01T00:00:00Z"}
    like = server.client.post(f"/v2/tokens/{made['id']}/regenerate", json=end).json()
    assert ask(server, like["token"], "/v1/datasets/_apl", apl).status_code == 429
    changed = server.client.put(f"/v2/tokens/{like['id']}", json={"budget": {"rowsPerDay": 1000}})
    assert changed.json()["budget"] == {"rowsPerDay": 1000}
    assert ask(server, like["token"], "/v1/datasets/_apl", apl).status_code == 200
    assert "budget" not in server.client.put(f"/v2/tokens/{like['id']}", json={"budget": {}}).json()
    assert ask(server, like["token"], "/tailrace/v1/budget").json()["left"] == {}
    wrong = server.client.post("/v2/tokens", json={**spec, "budget": {"rows": 5}})
    assert (wrong.status_code, "rows" in wrong.json()["message"]) == (400, True)


def test_an_answer_that_is_made_part_by_part_counts_whole(server: "Server", dataset: str) -> None:
    assert server.ingest(dataset, [{"text": "x" * 1000} for _ in range(1000)]).status_code == 200
    spec = {"name": "n", "datasetCapabilities": {dataset: {"query": ["read"]}}, "budget": {"bytesPerDay": 1e9}}
    token = server.client.post("/v2/tokens", json=spec).json()["token"]
    headers = {"Authorization": f"Bearer {token}", "Accept": "text/csv"}
    body = {"sql": f'SELECT text FROM "{dataset}"'}

    content = http.request("POST", f"{server.url}/tailrace/v1/sql", headers=headers, json=body).content

    assert len(content) > 1_000_000
    assert ask(server, token, "/tailrace/v1/budget").json()["used"]["bytes"] == len(content)
