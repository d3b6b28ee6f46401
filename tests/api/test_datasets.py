"""Datasets over HTTP, in the objects of Axiom's clients."""

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Server

KEYS = {
    "id",
    "name",
    "description",
    "who",
    "created",
    "updatedAt",
    "kind",
    "canWrite",
    "useRetentionPeriod",
    "retentionDays",
    "mapFields",
}


@pytest.mark.parametrize("prefix", ["/v1", "/v2", "/api/v1", "/axiom/v1", "/axiom/v2"])
def test_a_dataset_is_the_same_object_when_made_got_and_listed(server: "Server", dataset: str, prefix: str) -> None:
    name = f"{dataset}.with_all-Signs"

    made = server.client.post(f"{prefix}/datasets", json={"name": name, "description": "what it is for"})
    got = server.client.get(f"{prefix}/datasets/{name}")
    listed = server.client.get(f"{prefix}/datasets/")

    assert (made.status_code, got.status_code, listed.status_code) == (200, 200, 200)
    assert set(made.json()) == KEYS
    assert made.json()["id"] == made.json()["name"] == name
    assert made.json()["description"] == "what it is for"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", made.json()["created"])
    assert got.json() == made.json()
    assert made.json() in listed.json()


@pytest.mark.parametrize(("prefix", "said"), [("/v1", (200, b"{}")), ("/v2", (204, b""))])
def test_a_dataset_dropped_is_gone_with_its_events(
    server: "Server", dataset: str, prefix: str, said: tuple[int, bytes]
) -> None:
    server.ingest(dataset, [{"n": 1}])

    dropped = server.client.delete(f"{prefix}/datasets/{dataset}")

    assert (dropped.status_code, dropped.content) == said
    missing = server.client.get(f"{prefix}/datasets/{dataset}")
    assert missing.status_code == 404
    assert re.search("not found", missing.json()["message"], re.IGNORECASE)
    assert server.client.delete(f"{prefix}/datasets/{dataset}").status_code == 404
    server.create(dataset)
    assert server.sql(f'SELECT count(*) AS c FROM "{dataset}"') == [{"c": 0}]


def test_a_name_in_use_is_409(server: "Server", dataset: str) -> None:
    answer = server.client.post("/v2/datasets", json={"name": dataset})

    assert answer.status_code == 409
    assert answer.json()["code"] == 409


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "\u00e4", "x" * 129, "../x"])
def test_a_name_that_cannot_be_one_is_400(server: "Server", name: str) -> None:
    assert server.client.post("/v2/datasets", json={"name": name}).status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"name":7}'])
def test_a_body_that_is_no_dataset_is_400(server: "Server", body: bytes) -> None:
    answer = server.client.post("/v2/datasets", content=body)

    assert answer.status_code == 400
    assert answer.json()["code"] == 400


@pytest.mark.parametrize("named", ["edgeDeployment", "region"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_where_a_dataset_is_said_to_be_is_kept(server: "Server", dataset: str, version: str, named: str) -> None:
    name = f"{dataset}-there"
    made = server.client.post(f"/{version}/datasets", json={"name": name, named: "cloud.eu-central-1.aws"})

    assert made.status_code == 200, made.text
    shown = made.json()
    assert (shown["edgeDeployment"], shown["region"]) == ("cloud.eu-central-1.aws", "cloud.eu-central-1.aws")
    assert server.client.put(f"/v2/datasets/{name}", json={"description": "x"}).json()["region"] == shown["region"]
    assert server.client.get(f"/v1/datasets/{name}").json()["edgeDeployment"] == shown["edgeDeployment"]
    plain = server.client.get(f"/v2/datasets/{dataset}").json()
    assert not {"edgeDeployment", "region"} & set(plain)


@pytest.mark.parametrize("where", [{"region": "\n"}, {"edgeDeployment": "a", "region": "b"}, {"region": "x" * 129}])
def test_where_a_dataset_cannot_be_is_400(server: "Server", dataset: str, where: dict[str, str]) -> None:
    assert server.client.post("/v2/datasets", json={"name": f"{dataset}-no", **where}).status_code == 400
