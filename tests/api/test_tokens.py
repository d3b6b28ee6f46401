"""API tokens over HTTP."""

from typing import TYPE_CHECKING

import httpx
import pytest

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

    answer = httpx.post(
        f"{server.url}/v2/tokens",
        json={"name": "more", "datasetCapabilities": {"*": {"query": ["read"]}}},
        headers={"Authorization": f"Bearer {maker['token']}"},
        trust_env=False,
    )

    assert answer.status_code == 403


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "t", "orgCapabilities": {"magic": ["do"]}}])
def test_a_body_that_is_no_token_is_400(server: "Server", body: dict[str, object]) -> None:
    assert server.client.post("/v2/tokens", json=body).status_code == 400


def test_the_current_user_has_the_members_that_clients_decode(server: "Server") -> None:
    assert set(server.client.get("/v2/user").json()) == {"id", "name", "email", "role"}
    assert set(server.client.get("/v1/user").json()) == {"id", "name", "email", "emails", "permissions", "role"}
