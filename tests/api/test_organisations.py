"""Organisations over HTTP, in the objects of Axiom's document."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import MakeServer, Server

# What Axiom's OpenAPI document requires of a license, but for its regions, which are none here.
LICENSE = {
    "id",
    "tier",
    "issuer",
    "issuedTo",
    "issuedAt",
    "validFrom",
    "monthlyIngestGb",
    "monthlyQueryGbHours",
    "apiRateLimitPerSecond",
    "maxUsers",
    "maxDatasets",
    "maxMonitors",
    "maxFields",
    "maxEndpoints",
    "maxQueryWindowSeconds",
    "maxAuditWindowSeconds",
    "withAuths",
    "features",
    "billingPeriodStart",
    "billingPeriodEnd",
}


def test_an_organisation_is_the_same_when_read_and_listed(server: "Server") -> None:
    listed = server.client.get("/v2/orgs").json()
    [shown] = [each for each in listed if each["id"] == "tailrace"]

    assert server.client.get("/v2/orgs/tailrace").json() == shown
    assert (shown["role"], shown["plan"], shown["paymentStatus"]) == ("owner", "enterprise", "na")
    assert shown["license"].keys() >= LICENSE
    assert shown["license"]["features"] == {}


def test_a_renamed_organisation_keeps_its_id(server: "Server") -> None:
    before = server.client.get("/v2/orgs/tailrace").json()["name"]
    changed = server.client.put("/v2/orgs/tailrace", json={"name": "Renamed"}).json()

    assert (changed["id"], changed["name"]) == ("tailrace", "Renamed")
    assert server.client.get("/v2/orgs/tailrace").json() == changed
    assert server.client.put("/v2/orgs/tailrace", json={"name": before}).json()["name"] == before


def test_an_organisation_that_one_is_not_in_is_404(server: "Server") -> None:
    for method, body in (("GET", None), ("PUT", {"name": "x"})):
        assert server.client.request(method, "/v2/orgs/nobodys", json=body).status_code == 404


def test_datasets_of_other_organisations_are_no_part_of_what_a_query_of_many_sees(make_server: "MakeServer") -> None:
    server = make_server().start()
    there = {"X-Axiom-Org-Id": server.client.post("/v2/orgs", json={"name": "neighbours"}).json()["id"]}
    assert server.client.post("/v2/datasets", json={"name": "neighbours_theirs"}, headers=there).is_success
    assert server.client.post("/v2/datasets", json={"name": "neighbours_ours"}).is_success
    server.ingest("neighbours_ours", [{"a": 1}])

    def asked(apl: str) -> tuple[int, str]:
        answer = server.client.post("/v1/datasets/_apl?format=tabular", json={"apl": apl})
        return answer.status_code, answer.text

    status, text = asked("union neighbours_* | summarize count()")
    assert (status, "theirs" in text) == (200, False)
    status, text = asked("neighbours_their")
    assert (status, "theirs" in text) == (404, False)
    status, text = asked("neighbours_our")
    assert (status, "neighbours_ours" in text) == (404, True)
