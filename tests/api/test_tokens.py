"""API tokens over HTTP."""

import re
from typing import TYPE_CHECKING

import pytest
from support import http

if TYPE_CHECKING:
    from conftest import Server


def test_a_token_is_the_same_object_everywhere_but_for_its_secret(server: "Server") -> None:
    made = server.client.post(
        "/v2/tokens",
        json={
            "name": "for the test",
            "description": None,
            "expiresAt": None,
            "datasetCapabilities": {"demo": {"ingest": ["create"], "query": None}},
            "orgCapabilities": {"datasets": ["read"]},
            "viewCapabilities": None,
        },
    )

    assert made.status_code == 200
    token = made.json()
    assert token.pop("token").startswith("xaat-")
    assert token["datasetCapabilities"] == {"demo": {"ingest": ["create"]}}
    assert server.client.get(f"/v2/tokens/{token['id']}").json() == token
    assert token in server.client.get("/v2/tokens").json()


def test_what_names_no_dataset_goes_to_the_tokens_default(server: "Server", dataset: str) -> None:
    made = server.client.post(
        "/v2/tokens",
        json={
            "name": "with a default",
            "datasetCapabilities": {"*": {"ingest": ["create"]}},
            "orgCapabilities": {"users": ["read"]},
            "defaultDataset": dataset,
        },
    ).json()
    assert made["defaultDataset"] == dataset
    headers = {"Authorization": f"Bearer {made['token']}"}
    answer = http.post(f"{server.url}/api/v1/ingest", json=[{"n": 1}], headers=headers)
    assert answer.json()["ingested"] == 1
    assert [row["n"] for row in server.sql(f'SELECT n FROM "{dataset}"')] == [1]

    end = {"existingTokenExpiresAt": "2001-01-01T00:00:00Z"}
    like = server.client.post(f"/v2/tokens/{made['id']}/regenerate", json=end).json()
    assert like["defaultDataset"] == dataset
    without = server.client.put(f"/v2/tokens/{like['id']}", json={"defaultDataset": ""})
    assert "defaultDataset" not in without.json()
    headers = {"Authorization": f"Bearer {like['token']}"}
    answer = http.post(f"{server.url}/api/v1/ingest", json=[{"n": 2}], headers=headers)
    assert (answer.status_code, "no dataset is named" in answer.json()["message"]) == (400, True)

    other = {"name": "t", "datasetCapabilities": {"a": {"ingest": ["create"]}}, "defaultDataset": dataset}
    refused = server.client.post("/v2/tokens", json=other)
    assert (refused.status_code, refused.json()["message"].split()[0]) == (400, "defaultDataset")


def test_a_token_revoked_is_refused_at_its_next_use(server: "Server", dataset: str) -> None:
    made = server.client.post(
        "/v2/tokens", json={"name": "t", "datasetCapabilities": {dataset: {"ingest": ["create"]}}}
    ).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert server.ingest(dataset, [{"n": 1}], headers=headers).status_code == 200

    assert server.client.delete(f"/v2/tokens/{made['id']}").status_code == 204
    assert server.ingest(dataset, [{"n": 2}], headers=headers).status_code == 401
    assert server.client.delete(f"/v2/tokens/{made['id']}").status_code == 404


def test_a_token_cannot_make_a_mightier_one(server: "Server") -> None:
    maker = server.client.post("/v2/tokens", json={"name": "t", "orgCapabilities": {"apiTokens": ["create"]}}).json()

    answer = http.post(
        f"{server.url}/v2/tokens",
        json={"name": "more", "datasetCapabilities": {"*": {"query": ["read"]}}},
        headers={"Authorization": f"Bearer {maker['token']}"},
    )

    assert answer.status_code == 403


def test_a_regenerated_token_is_what_new_token_says(server: "Server", dataset: str) -> None:
    wide = server.client.post(
        "/v2/tokens",
        json={
            "name": "wide",
            "datasetCapabilities": {"*": {"ingest": ["create"]}},
            "orgCapabilities": {"users": ["read"]},
        },
    ).json()

    made = server.client.post(
        f"/v2/tokens/{wide['id']}/regenerate",
        json={
            "existingTokenExpiresAt": "2001-01-01T00:00:00Z",
            "newToken": {
                "name": "narrow",
                "description": "less",
                "expiresAt": "2099-01-01T00:00:00Z",
                "datasetCapabilities": {dataset: {"query": ["read"], "ingest": None}},
                "orgCapabilities": {},
            },
        },
    )

    assert made.status_code == 200, made.text
    new = made.json()
    assert new["id"] != wide["id"]
    assert (new["name"], new["description"], new["expiresAt"]) == ("narrow", "less", "2099-01-01T00:00:00Z")
    assert (new["datasetCapabilities"], new["orgCapabilities"]) == ({dataset: {"query": ["read"]}}, {})
    narrow = {"Authorization": f"Bearer {new['token']}"}
    assert server.ingest(dataset, [{"n": 1}], headers=narrow).status_code == 403
    assert server.client.get("/v2/users", headers=narrow).status_code == 403
    assert server.client.get("/v2/user", headers={"Authorization": f"Bearer {wide['token']}"}).status_code == 401


@pytest.mark.parametrize(
    "capabilities",
    [
        {},
        {"datasetCapabilities": {}, "orgCapabilities": {}},
        {"datasetCapabilities": {"d": {"ingest": None, "query": []}}, "orgCapabilities": {"users": []}},
    ],
)
def test_a_token_without_a_capability_is_400(server: "Server", capabilities: dict[str, object]) -> None:
    answer = server.client.post("/v2/tokens", json={"name": "t", **capabilities})
    assert answer.status_code == 400
    assert re.search("at least one (dataset )?capability must be set", answer.json()["message"])


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "t", "orgCapabilities": {"magic": ["do"]}}])
def test_a_body_that_is_no_token_is_400(server: "Server", body: dict[str, object]) -> None:
    assert server.client.post("/v2/tokens", json=body).status_code == 400


def test_the_current_user_has_the_members_that_clients_decode(server: "Server") -> None:
    assert set(server.client.get("/v2/user").json()) == {"id", "name", "email", "role"}
    assert set(server.client.get("/v1/user").json()) == {"id", "name", "email", "emails", "permissions", "role"}
