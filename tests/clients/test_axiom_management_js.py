"""Axiom's JavaScript client, unmodified, for management: datasets, annotations, users, dashboards, saved queries."""

from typing import TYPE_CHECKING, Any

from support.node import needs_node, run_program

if TYPE_CHECKING:
    from conftest import Server


pytestmark = needs_node


def call(server: "Server", *calls: list[Any]) -> list[Any]:
    """Return what each call answered, with the owner's token."""
    answers: list[Any] = run_program("manage.mjs", {"url": server.url, "token": server.token, "calls": calls})
    return answers


def test_datasets(server: "Server") -> None:
    made, got, listed, changed, again, gone, missing = call(
        server,
        ["datasets", "create", {"name": "js-managed", "description": "made"}],
        ["datasets", "get", "$0.id"],
        ["datasets", "list"],
        ["datasets", "update", "$0.id", {"description": "changed"}],
        ["datasets", "get", "$0.id"],
        ["datasets", "delete", "$0.id"],
        ["datasets", "get", "$0.id"],
    )

    assert (made["id"], made["description"], made["kind"]) == ("js-managed", "made", "axiom:events:v1")
    assert got == made
    assert made in listed
    assert changed == {**made, "description": "changed", "updatedAt": changed["updatedAt"]}
    assert again == changed
    assert gone == {"status": 204}
    assert "failed with 404" in missing["error"]
    assert "not found" in missing["error"]


def test_annotations(server: "Server", dataset: str) -> None:
    wanted = {"type": "js-deploy", "datasets": [dataset], "title": "t", "description": "d", "url": "some-url"}
    made, got, listed, changed, again, gone, after = call(
        server,
        ["annotations", "create", {**wanted, "time": "2026-01-02T03:04:05Z"}],
        ["annotations", "get", "$0.id"],
        ["annotations", "list", {"datasets": dataset}],
        ["annotations", "update", "$0.id", {"title": "changed", "endTime": "2026-01-02T04:00:00Z"}],
        ["annotations", "get", "$0.id"],
        ["annotations", "delete", "$0.id"],
        ["annotations", "list", {"datasets": dataset}],
    )

    assert made == {**wanted, "id": made["id"], "time": made["time"]}
    assert got == made
    assert listed == [made]
    assert changed == {**made, "title": "changed", "endTime": changed["endTime"]}
    assert again == changed
    assert gone == {"status": 204}
    assert after == []


def test_users(server: "Server") -> None:
    current, listed = call(server, ["users", "current"], ["users", "list"])

    assert current in listed
    assert call(server, ["users", "get", current["id"]]) == [current]
    assert set(current) == {"id", "name", "email", "role"}


def test_dashboards(server: "Server") -> None:
    document = {"name": "js", "owner": "X-AXIOM-EVERYONE", "charts": [{"id": "n", "type": "Note"}], "layout": []}
    body = {"uid": "js-dashboard", "dashboard": document}
    made = server.client.post("/v2/dashboards", json=body).json()["dashboard"]
    got, listed, missing = call(
        server,
        ["dashboards", "get", "js-dashboard"],
        ["dashboards", "list", {"limit": 1000}],
        ["dashboards", "get", "js-missing"],
    )

    assert got == made
    assert made in listed
    assert "not found" in missing["error"]


def test_saved_queries(server: "Server", dataset: str) -> None:
    body = {"name": "js", "dataset": dataset, "query": {"apl": f"['{dataset}']"}, "metadata": {}}
    made = server.client.post("/v2/apl-starred-queries", json=body).json()
    got, mine, everybodys = call(
        server,
        ["savedQueries", "get", made["id"]],
        ["savedQueries", "list", {"limit": 1000}],
        ["savedQueries", "list", {"limit": 1000, "who": "all"}],
    )

    assert got == made
    assert made in mine
    assert made in everybodys
