"""Views over HTTP."""

from typing import TYPE_CHECKING, Any

import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

PATH = "/v2/views"


def body(name: str, **more: Any) -> dict[str, Any]:
    query = "['demo'] | where level == 'error'"
    return {"name": name, "aplQuery": query, "description": "d", "datasets": ["demo"], **more}


def test_one_is_the_same_when_made_read_listed_and_changed(server: "Server") -> None:
    made = server.client.post(PATH, json=body("view-same")).json()

    assert made == {"id": made["id"], **body("view-same")}
    assert server.client.get(f"{PATH}/{made['id']}").json() == made
    assert made in server.client.get(PATH).json()
    changed = server.client.put(f"{PATH}/{made['id']}", json=body("view-same", description="e")).json()
    assert changed == {**made, "description": "e"}
    assert server.client.get(f"{PATH}/{made['id']}").json() == changed
    assert server.client.delete(f"{PATH}/{made['id']}").status_code == 204
    for ask in (server.client.get, server.client.delete):
        assert ask(f"{PATH}/{made['id']}").status_code == 404
    assert server.client.put(f"{PATH}/{made['id']}", json=body("view-same")).status_code == 404


def test_a_name_that_is_taken_is_409(server: "Server") -> None:
    assert server.client.post(PATH, json=body("view-taken")).status_code == 200
    other = server.client.post(PATH, json=body("view-other")).json()

    assert server.client.post(PATH, json=body("view-taken")).status_code == 409
    assert server.client.put(f"{PATH}/{other['id']}", json=body("view-taken")).status_code == 409


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "x" * 129}, {"aplQuery": ""}, {"aplQuery": "['demo'] | where"}]
)
def test_what_is_no_view_is_400(server: "Server", change: dict[str, Any]) -> None:
    assert server.client.post(PATH, json={**body("view-bad"), **change}).status_code == 400


def view(server: "Server", name: str, apl: str, headers: dict[str, str] | None = None) -> None:
    answer = server.client.post(PATH, json={"name": name, "aplQuery": apl}, headers=headers)
    assert answer.status_code == 200, answer.text


def bearer(server: "Server", **capabilities: Any) -> dict[str, str]:
    answer = server.client.post("/v2/tokens", json={"name": "t", **capabilities})
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def ask(server: "Server", apl: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the columns by their names, or the error."""
    answer = server.client.post("/v1/datasets/_apl?format=tabular", json={"apl": apl}, headers=headers)
    if answer.status_code != 200:
        return {"status": answer.status_code, "message": answer.json()["message"]}
    table = answer.json()["tables"][0]
    return dict(zip([field["name"] for field in table["fields"]], table["columns"], strict=True))


@pytest.fixture
def errors(server: "Server", dataset: str) -> str:
    """Return a view of what went wrong in a dataset of five events, two of which did."""
    server.ingest(dataset, [{"n": n, "level": "error" if n % 2 else "info", "secret": n} for n in range(5)])
    view(server, f"{dataset}-errors", f"let wanted = 'error'; ['{dataset}'] | where level == wanted | project n, level")
    return f"{dataset}-errors"


def test_a_view_is_a_source(server: "Server", dataset: str, errors: str) -> None:
    assert ask(server, f"['{errors}'] | order by n asc") == {"n": [1, 3], "level": ["error", "error"]}
    assert ask(server, f"['{errors}'] | where n > 1 | count") == {"count": [1]}
    assert ask(server, f"['{dataset}'] | where n in (['{errors}'] | project n) | summarize s = sum(n)") == {"s": [4]}
    assert ask(server, f"union ['{errors}'], ['{dataset}'] | count") == {"count": [7]}
    joined = f"['{dataset}'] | join kind=inner (['{errors}']) on n | project n, secret | order by n asc"
    assert ask(server, joined) == {"n": [1, 3], "secret": [1, 3]}
    assert ask(server, f"let wanted = 'info'; table('{errors}') | count") == {"count": [2]}


def test_an_error_in_a_view_is_told_with_its_name(server: "Server", dataset: str, errors: str) -> None:
    found = ask(server, f"['{errors}'] | project secret")
    assert (found["status"], "secret" in found["message"]) == (400, True)
    assert ask(server, f"['{errors}x']")["status"] == 404
    view(server, f"{dataset}-nested", f"['{errors}'] | count")
    found = ask(server, f"['{dataset}-nested']")
    assert (found["status"], found["message"].count("not another view")) == (400, 1)
    view(server, f"{dataset}-itself", f"['{dataset}-itself'] | count")
    assert ask(server, f"['{dataset}-itself']")["status"] == 400


def test_a_dataset_comes_before_a_view_of_its_name(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"n": 1}])
    view(server, dataset, f"['{dataset}'] | where false")
    assert ask(server, f"['{dataset}'] | count") == {"count": [1]}


def test_who_may_read_a_view_sees_what_it_shows_and_no_more(server: "Server", dataset: str, errors: str) -> None:
    reader = bearer(server, orgCapabilities={"views": ["read"]})
    assert ask(server, f"['{errors}'] | order by n asc", reader) == {"n": [1, 3], "level": ["error", "error"]}
    assert ask(server, f"['{dataset}'] | count", reader)["status"] == 403
    assert ask(server, f"union ['{errors}'], ['{dataset}'] | count", reader)["status"] == 403
    assert ask(server, f"['{errors}'] | count", bearer(server, orgCapabilities={"datasets": ["read"]}))["status"] == 403


def test_a_view_shows_nothing_that_who_defines_it_may_not_read(server: "Server", dataset: str, errors: str) -> None:
    definer = bearer(server, orgCapabilities={"views": ["create", "read", "update"]})
    body = {"name": f"{dataset}-mine", "aplQuery": f"['{dataset}']"}
    assert server.client.post(PATH, json=body, headers=definer).status_code == 403

    assert server.client.post(PATH, json={**body, "aplQuery": "union *"}, headers=definer).status_code == 400
    made = server.client.post(PATH, json={**body, "aplQuery": "print 1"}, headers=definer).json()
    assert server.client.put(f"{PATH}/{made['id']}", json=body, headers=definer).status_code == 403


def test_a_view_of_what_is_made_after_it_shows_it_to_who_may_read_it(server: "Server", dataset: str) -> None:
    later = f"{dataset}-later"
    view(server, f"{dataset}-mine", f"['{later}']")
    server.ingest(server.create(later), [{"n": 1}])
    assert ask(server, f"['{dataset}-mine'] | count") == {"count": [1]}
    reader = bearer(server, orgCapabilities={"views": ["read"]})
    assert ask(server, f"['{dataset}-mine']", reader)["status"] == 403


def test_a_view_of_another_organisation_is_none(make_server: "MakeServer") -> None:
    server = make_server().start()
    there = {"X-Axiom-Org-Id": server.client.post("/v2/orgs", json={"name": "neighbours"}).json()["id"]}
    server.client.post("/v2/datasets", json={"name": "theirs"}, headers=there)
    view(server, "errors", "['theirs'] | count", there)
    assert ask(server, "errors", there) == {"count": [0]}
    assert ask(server, "errors")["status"] == 404
    view(server, "mine", "['to-be'] | count")
    server.client.post("/v2/datasets", json={"name": "to-be"}, headers=there)
    assert ask(server, "mine")["status"] == 404


def test_a_monitor_asks_a_view(server: "Server", dataset: str, errors: str) -> None:
    rights = {"monitors": ["create", "read"], "views": ["read"]}
    body = {"name": dataset, "aplQuery": f"['{errors}'] | summarize count()", "operator": "Above", "threshold": 1}
    rare = {"intervalMinutes": 1440, "rangeMinutes": 10}
    made = server.client.post("/v2/monitors", json=body | rare, headers=bearer(server, orgCapabilities=rights))

    assert made.status_code == 200, made.text
    path = f"/tailrace/v1/monitors/{made.json()['id']}"
    wait_until(lambda: server.client.get(path).json()["lastRun"] is not None)
    standing = server.client.get(path).json()
    assert (standing["error"], [each["value"] for each in standing["history"]]) == ("", [2.0])


def test_a_view_is_a_source_in_sql(server: "Server", dataset: str, errors: str) -> None:
    assert server.sql(f'SELECT * FROM "{errors}" ORDER BY n') == [
        {"n": 1, "level": "error"},
        {"n": 3, "level": "error"},
    ]
    joined = f'SELECT sum(d.secret) AS s FROM "{dataset}" d JOIN "{errors}" e ON d.n = e.n WHERE e.level = \'error\''
    assert server.sql(joined) == [{"s": 4}]
    inside = f'WITH x AS (SELECT n FROM "{errors}") SELECT count(*) AS c FROM x, "{errors}" AS y WHERE x.n = y.n'
    assert server.sql(inside) == [{"c": 2}]
    view(server, f"{dataset}-all", f"['{dataset}'] | extend d = dynamic({{\"a\": [1, 2]}}), t = 1h")
    [row] = server.sql(f'SELECT * FROM "{dataset}-all" WHERE secret = 4')
    assert (row["n"], row["d"], set(row)) == (4, {"a": [1, 2]}, {"_time", "_sysTime", "n", "level", "secret", "d", "t"})
    assert server.sql(f"SELECT d->>'$.a[1]' AS second FROM \"{dataset}-all\" LIMIT 1") == [{"second": "2"}]


def test_views_are_shown_as_tables_to_those_who_may_read_them(server: "Server", dataset: str, errors: str) -> None:
    def shown(**rights: Any) -> list[str]:
        headers = bearer(server, **rights)
        answer = server.client.post("/tailrace/v1/sql", json={"sql": "SHOW TABLES"}, headers=headers)
        return [row["name"] for row in answer.json()["rows"]]

    assert errors in shown(orgCapabilities={"views": ["read"]})
    assert shown(datasetCapabilities={dataset: {"query": ["read"]}}) == [dataset]
    columns = server.sql(f'DESCRIBE "{errors}"')
    assert [row["column_name"] for row in columns] == ["n", "level"]


def test_rights_on_a_view_hold_in_sql(server: "Server", dataset: str, errors: str) -> None:
    def status(sql: str, **rights: Any) -> int:
        headers = bearer(server, orgCapabilities=rights)
        return server.client.post("/tailrace/v1/sql", json={"sql": sql}, headers=headers).status_code

    assert status(f'SELECT * FROM "{errors}"', views=["read"]) == 200
    assert status(f'SELECT * FROM "{errors}"', datasets=["read"]) == 403
    assert status(f'SELECT * FROM "{errors}", "{dataset}"', views=["read"]) == 403
    assert status("SELECT * FROM view_rows_0", views=["read"]) == 403


def test_a_view_is_shared_by_itself(server: "Server", dataset: str, errors: str) -> None:
    view(server, f"{dataset}-other", f"['{dataset}'] | where n == 0")
    by_token = bearer(server, datasetCapabilities={errors: {"query": ["read"]}})
    role = {"name": f"{dataset}-role", "viewCapabilities": {errors: {"query": ["read"]}}}
    role_id = server.client.post("/v2/rbac/roles", json=role).json()["id"]
    person = {"name": dataset, "email": f"{dataset}@example.com", "role": role_id}
    user = server.client.post("/v2/users", json=person).json()["id"]
    secret = server.client.post(f"/tailrace/v1/users/{user}/tokens", json={"name": "t"}).json()["token"]

    for headers in (by_token, {"Authorization": f"Bearer {secret}"}):
        assert ask(server, f"['{errors}'] | count", headers) == {"count": [2]}
        assert ask(server, f"['{dataset}-other'] | count", headers)["status"] == 403
        assert ask(server, f"['{dataset}'] | count", headers)["status"] == 403


def test_a_view_of_a_role_is_no_dataset_of_that_name(server: "Server", dataset: str) -> None:
    role = {"name": f"{dataset}-role", "viewCapabilities": {dataset: {"query": ["read"]}}}
    role_id = server.client.post("/v2/rbac/roles", json=role).json()["id"]
    person = {"name": dataset, "email": f"{dataset}@example.com", "role": role_id}
    user = server.client.post("/v2/users", json=person).json()["id"]
    secret = server.client.post(f"/tailrace/v1/users/{user}/tokens", json={"name": "t"}).json()["token"]
    assert ask(server, f"['{dataset}'] | count", {"Authorization": f"Bearer {secret}"})["status"] == 403


def test_nobody_shares_a_view_that_they_may_not_read(server: "Server", dataset: str, errors: str) -> None:
    role = {"name": f"{dataset}-role", "viewCapabilities": {errors: {"query": ["read"]}}}
    for rights, status in (({}, 403), ({"views": ["read"]}, 200)):
        maker = bearer(server, orgCapabilities={"rbac": ["create"], **rights})
        assert server.client.post("/v2/rbac/roles", json=role, headers=maker).status_code == status


def test_a_token_is_not_made_without_the_views_that_were_asked_for(server: "Server", errors: str) -> None:
    body = {"name": "t", "orgCapabilities": {"datasets": ["read"]}, "viewCapabilities": {errors: {"query": ["read"]}}}
    answer = server.client.post("/v2/tokens", json=body)
    assert (answer.status_code, "datasetCapabilities" in answer.json()["message"]) == (400, True)
