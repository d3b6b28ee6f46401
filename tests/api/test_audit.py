"""The audit trail: what was changed, by whom and when, in a dataset that only the server writes."""

import re
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import http

from tailrace.api import ROUTES
from tailrace.api.route import ANY_TOKEN, QUERY
from tailrace.api.single_sign_on import begin_sign_in

if TYPE_CHECKING:
    from conftest import MakeServer, Server

APL = "/v1/datasets/_apl?format=tabular"


def asked(server: "Server", apl: str, headers: dict[str, str] | None = None) -> httpx.Response:
    accept = {"Accept": "application/x-ndjson"}
    return server.client.post(APL, json={"apl": apl}, headers={**accept, **(headers or {})})


def acts(server: "Server", resource: str, *fields: str) -> list[list[Any]]:
    """Return the fields of the acts on a resource, oldest first."""
    columns = ", ".join(f"['{field}'] = ['{field}']" for field in ("action", *fields))
    found = f"['axiom-audit'] | where ['resource.id'] == '{resource}' | order by _time asc"
    answer = asked(server, f"{found} | project {columns}")
    assert answer.status_code == 200, answer.text
    rows = [httpx.Response(200, content=line).json() for line in answer.text.splitlines()]
    return [[row.get(field) for field in ("action", *fields)] for row in rows]


def as_token(server: "Server", **capabilities: Any) -> dict[str, str]:
    made = server.client.post("/v2/tokens", json={"name": "audit", **capabilities})
    assert made.status_code == 200, made.text
    return {"Authorization": f"Bearer {made.json()['token']}"}


def test_each_change_of_a_dataset_is_in_the_trail_with_who_and_what(server: "Server") -> None:
    made = server.client.post("/v2/datasets", json={"name": "audited"})
    server.client.put("/v2/datasets/audited", json={"description": "d"})
    server.client.post("/v1/datasets/audited/trim", json={"maxDuration": "1h"})
    server.client.delete("/v2/datasets/audited")
    user = server.client.get("/v2/user").json()

    fields = ("resource.type", "actor.kind", "actor.id", "actor.name", "method", "path", "status", "organisation")
    who = ["dataset", "personal", user["id"], user["name"]]
    assert acts(server, "audited", *fields) == [
        ["createDataset", *who, "POST", "/v2/datasets", 200, "tailrace"],
        ["updateDataset", *who, "PUT", "/v2/datasets/audited", 200, "tailrace"],
        ["trimDataset", *who, "POST", "/v1/datasets/audited/trim", 200, "tailrace"],
        ["deleteDataset", *who, "DELETE", "/v2/datasets/audited", 204, "tailrace"],
    ]
    assert acts(server, "audited", "trace_id")[0] == ["createDataset", made.headers["x-axiom-trace-id"]]
    assert acts(server, "audited", "properties.description")[1] == ["updateDataset", "d"]
    assert acts(server, "audited", "properties.max_duration")[2] == ["trimDataset", "1h"]


def test_tokens_users_and_keys_are_in_the_trail_without_secrets(server: "Server") -> None:
    token = server.client.post(
        "/v2/tokens",
        json={
            "name": "audit-token",
            "datasetCapabilities": {"demo": {"ingest": ["create"]}},
            "defaultDataset": "demo",
        },
    ).json()
    server.client.delete(f"/v2/tokens/{token['id']}")
    user = server.client.post("/v2/users", json={"name": "audit-user", "email": "audit@example.com"}).json()["id"]
    server.client.put(f"/v2/users/{user}/role", json={"role": "read-only"})
    personal = server.client.post(f"/tailrace/v1/users/{user}/tokens", json={"name": "p"}).json()
    server.client.delete(f"/tailrace/v1/users/{user}/tokens/{personal['id']}")
    server.client.delete(f"/v2/users/{user}")
    key = server.client.post("/tailrace/v1/keys", json={"protocol": "moesif", "name": "k", "dataset": "demo"}).json()
    server.client.delete(f"/tailrace/v1/keys/{key['id']}")

    name = "resource.name"
    assert acts(server, token["id"], name) == [["createAPIToken", "audit-token"], ["deleteAPIToken", ""]]
    assert acts(server, token["id"], "properties.default_dataset")[0] == ["createAPIToken", "demo"]
    assert acts(server, user, "properties.role")[1] == ["updateUserRole", "read-only"]
    assert acts(server, user, name) == [["createUser", "audit-user"], ["updateUserRole", ""], ["removeUserFromOrg", ""]]
    assert acts(server, personal["id"], name) == [["createPersonalToken", "p"], ["deletePersonalToken", ""]]
    assert acts(server, key["id"], name) == [["createKey", "k"], ["deleteKey", ""]]
    everything = asked(server, "['axiom-audit']").text
    assert not any(secret in everything for secret in (token["token"], personal["token"], key["key"]))


def test_what_keys_make_is_in_the_trail(server: "Server") -> None:
    moesif = server.client.post("/tailrace/v1/keys", json={"protocol": "moesif", "name": "k", "dataset": "audit-app"})
    headers = {"X-Moesif-Application-Id": moesif.json()["key"]}
    sent = http.post(f"{server.url}/v1/users", json={"user_id": "u"}, headers=headers)
    assert sent.status_code == 201
    assert acts(server, "audit-app-users", "actor.credential") == [["createDataset", moesif.json()["id"]]]


def test_queries_reads_dry_runs_and_what_is_refused_are_not(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"n": 1}])
    asked(server, f"['{dataset}']")
    server.sql(f'SELECT * FROM "{dataset}"')
    server.client.get(f"/v2/datasets/{dataset}")
    assert server.client.post("/v2/datasets", json={"name": dataset}).status_code == 409
    deletion = {"apl": f"['{dataset}'] | where n == 1"}
    assert server.client.post("/v2/datasets/_apl/delete", json={**deletion, "commit": False}).status_code == 200
    assert acts(server, dataset) == [["createDataset"]]

    assert server.client.post("/v2/datasets/_apl/delete", json={**deletion, "commit": True}).status_code == 200
    assert acts(server, dataset, "properties.apl", "properties.rows_deleted")[1:] == [["aplDelete", deletion["apl"], 1]]


def test_sql_reads_the_trail_too(server: "Server", dataset: str) -> None:
    rows = server.sql(f"""SELECT "action" FROM "axiom-audit" WHERE "resource.id" = '{dataset}'""")

    assert rows == [{"action": "createDataset"}]


def test_nobody_writes_changes_or_deletes_the_trail(server: "Server", dataset: str) -> None:
    calls: tuple[tuple[str, str, Any], ...] = (
        ("POST", "/v1/datasets/axiom-audit/ingest", [{"n": 1}]),
        ("PUT", "/v2/datasets/axiom-audit", {"retentionDays": 1}),
        ("POST", "/v2/datasets/axiom-audit/trim", {"maxDuration": "1s"}),
        ("POST", "/v2/datasets/axiom-audit/vacuum", {}),
        ("POST", "/v2/datasets/_apl/delete", {"apl": "['axiom-audit'] | where true", "commit": True}),
        ("DELETE", "/v2/datasets/axiom-audit", None),
        ("PUT", "/v2/datasets/axiom-audit/fields/action", {"hidden": True}),
        ("PUT", "/v2/datasets/axiom-audit/mapfields", ["properties"]),
        ("POST", "/v2/vfields", {"dataset": "axiom-audit", "name": "action", "expression": "'nothing'"}),
        ("POST", "/v2/datasets", {"name": "axiom-audit.mine"}),
        ("POST", "/tailrace/v1/keys", {"protocol": "moesif", "name": "k", "dataset": "axiom-audit"}),
        ("POST", "/tailrace/v1/keys", {"protocol": "datamix", "name": "k", "destination": "axiom-audit.a.b"}),
        ("POST", "/v2/tokens", {"name": "t", "datasetCapabilities": {"axiom-audit": {"ingest": ["create"]}}}),
    )
    for method, path, body in calls:
        answer = server.client.request(method, path, json=body)
        assert answer.status_code == 403, (path, answer.text)
        assert "the server alone" in answer.json()["message"]
    key = server.client.post("/tailrace/v1/keys", json={"protocol": "baselime", "name": "k", "datasets": ["*"]}).json()[
        "key"
    ]
    sent = http.post(f"{server.url}/v1/axiom-audit/ns", json=[{"n": 1}], headers={"x-api-key": key})
    assert sent.status_code == 401
    assert acts(server, dataset) == [["createDataset"]]


def test_the_trail_is_for_owners_admins_and_who_may_read_it_by_name(server: "Server", dataset: str) -> None:
    everything = as_token(
        server, datasetCapabilities={"*": {"query": ["read"]}}, orgCapabilities={"datasets": ["read"]}
    )
    by_name = as_token(server, datasetCapabilities={"axiom-audit": {"query": ["read"]}})
    by_capability = as_token(server, orgCapabilities={"auditLog": ["read"], "datasets": ["read"]})

    assert asked(server, "['axiom-audit'] | limit 1", everything).status_code == 403
    assert "axiom-audit" not in server.client.get("/v2/datasets", headers=everything).text
    assert server.client.get("/v2/datasets/axiom-audit", headers=everything).status_code == 404
    for headers in (by_name, by_capability):
        assert asked(server, "['axiom-audit'] | limit 1", headers).status_code == 200
    listed = server.client.get("/v2/datasets", headers=by_capability).json()
    [shown] = [each for each in listed if each["name"] == "axiom-audit"]
    assert (shown["canWrite"], shown["kind"]) == (False, "axiom:events:v1")


def test_an_organisation_has_a_trail_of_its_own_that_outlives_a_restart(make_server: "MakeServer") -> None:
    server = make_server("--max-datasets=2").start()
    in_other = {"X-Axiom-Org-Id": "other"}
    assert server.client.post("/v2/orgs", json={"name": "Other"}).status_code == 200
    assert server.client.post("/v2/datasets", json={"name": "theirs"}, headers=in_other).status_code == 200
    server.kill()
    server.start()

    found = asked(server, "['axiom-audit.other'] | project action, ['resource.id']", in_other)
    assert found.text.strip() == '{"action":"createDataset","resource.id":"theirs"}'
    assert asked(server, "['axiom-audit.other']").status_code == 404
    assert asked(server, "['axiom-audit'] | project action").text.strip() == '{"action":"createOrg"}'
    # The trails do not count against the limit, and the two others reach it.
    assert server.client.post("/v2/datasets", json={"name": "third"}).status_code == 409


def test_a_change_stands_and_is_told_in_the_log_where_the_trail_cannot_be_written(make_server: "MakeServer") -> None:
    server = make_server("--log-min-free-bytes=1000000000000000")
    server.launch_unready()

    assert server.client.post("/v2/datasets", json={"name": "unseen"}).status_code == 200
    [line] = [each for each in server.errors.read_text().splitlines() if "audit trail" in each]
    assert "log_min_free_bytes" in line
    assert '"action":"createDataset"' in line
    assert '"id":"unseen"' in line
    metrics = server.client.get("/metrics").text
    assert 'tailrace_refused_requests_total{protocol="audit",reason="disk_full",route="",status="0"} 1.0' in metrics


def test_every_route_that_changes_something_has_an_act() -> None:
    for route in ROUTES:
        reads = (
            route.method == "GET"
            or (route.method == "POST" and route.further_permission == QUERY and route.permission == ANY_TOKEN)
            or route.handler is begin_sign_in  # of which the server keeps nothing
        )
        assert (route.audit is None) == reads, route.path
        if route.audit is not None:
            assert re.fullmatch("[a-z][A-Za-z]+", route.audit.action), route.audit
            assert re.fullmatch("[a-z][A-Za-z]+", route.audit.resource), route.audit


@pytest.mark.parametrize("name", ["axiom-audit", "axiom-audit.other"])
def test_names_like_the_trails_are_free(server: "Server", name: str) -> None:
    free = name.replace("axiom-audit", "axiom-audits")
    assert server.client.post("/v2/datasets", json={"name": free}).status_code == 200
