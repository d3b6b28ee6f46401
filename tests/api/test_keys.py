"""Keys of the other protocols over HTTP."""

import itertools
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import http
from support.directories import contents

if TYPE_CHECKING:
    from conftest import Server

SCOPES: dict[str, dict[str, Any]] = {
    "baselime": {"datasets": ["api-keys-a", "api-keys-b"]},
    "datamix": {"destination": "mixbook.keys.test"},
    "moesif": {"dataset": "api-keys-moesif"},
}
_NUMBERS = itertools.count()


def create(server: "Server", protocol: str, **more: Any) -> dict[str, Any]:
    answer = server.client.post(
        "/tailrace/v1/keys", json={"protocol": protocol, "name": "test", **SCOPES[protocol], **more}
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def datasets(server: "Server") -> set[str]:
    """Return the names of all datasets but the audit trail, which the first act makes."""
    return {each["name"] for each in server.client.get("/v2/datasets").json()} - {"axiom-audit"}


@pytest.mark.parametrize("protocol", SCOPES)
def test_a_key_is_the_same_object_everywhere_but_for_its_secret(server: "Server", protocol: str) -> None:
    made = create(server, protocol, expiresAt="2099-01-31T00:00:00Z")

    secret, usage = made.pop("key"), made.pop("usage")
    assert all(secret not in line for line in usage)
    assert any("{url}" in line and "{key}" in line for line in usage)
    assert {"id", "createdAt"} < set(made)
    assert made["expiresAt"] == "2099-01-31T00:00:00Z"
    assert {name: made[name] for name in SCOPES[protocol]} == SCOPES[protocol]
    one = server.client.get(f"/tailrace/v1/keys/{made['id']}")
    every = server.client.get("/tailrace/v1/keys")
    assert one.json() == made
    assert made in every.json()
    assert secret not in one.text + every.text


@pytest.mark.parametrize(
    ("scope", "wanted"),
    [
        ({"protocol": "baselime", "datasets": ["fresh-a", "fresh-b"]}, {"fresh-a", "fresh-b"}),
        ({"protocol": "baselime", "dataset": "fresh-c"}, {"fresh-c"}),
        ({"protocol": "moesif", "dataset": "fresh-d"}, {"fresh-d"}),
        ({"protocol": "datamix", "destination": "fresh.e.f"}, {"fresh.e.f"}),
        ({"protocol": "baselime", "datasets": ["*"]}, set()),
    ],
)
def test_a_key_makes_the_datasets_that_are_missing(server: "Server", scope: dict[str, Any], wanted: set[str]) -> None:
    before = datasets(server)

    answer = server.client.post("/tailrace/v1/keys", json={"name": "t", **scope})

    assert answer.status_code == 201
    assert datasets(server) - before == wanted


def test_a_key_for_a_dataset_that_is_there_leaves_it_as_it_is(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"n": 1}])

    answer = server.client.post("/tailrace/v1/keys", json={"protocol": "moesif", "name": "t", "dataset": dataset})

    assert answer.status_code == 201
    assert server.sql(f'SELECT count(*) AS n FROM "{dataset}"') == [{"n": 1}]


def test_a_key_whose_dataset_cannot_be_made_is_not_kept(server: "Server") -> None:
    before = server.client.get("/tailrace/v1/keys").json()

    answer = server.client.post(
        "/tailrace/v1/keys", json={"protocol": "baselime", "name": "t", "datasets": ["no spaces please"]}
    )

    assert answer.status_code == 400
    assert "no spaces please" in answer.json()["message"]
    assert server.client.get("/tailrace/v1/keys").json() == before


def test_a_refused_key_leaves_no_dataset(server: "Server") -> None:
    before = datasets(server)

    answer = server.client.post(
        "/tailrace/v1/keys", json={"protocol": "moesif", "name": "t", "dataset": "never-made", "key": "short"}
    )

    assert answer.status_code == 400
    assert datasets(server) == before


def test_a_token_that_may_not_make_datasets_makes_keys_for_those_there_are(server: "Server", dataset: str) -> None:
    token = server.client.post(
        "/v2/tokens",
        json={
            "name": "keys only",
            "datasetCapabilities": {"*": {"ingest": ["create"]}},
            "orgCapabilities": {"apiTokens": ["create"]},
        },
    ).json()["token"]

    def ask(name: str) -> httpx.Response:
        return server.client.post(
            "/tailrace/v1/keys",
            json={"protocol": "moesif", "name": "t", "dataset": name},
            headers={"Authorization": f"Bearer {token}"},
        )

    assert ask(dataset).status_code == 201
    refused = ask("not-there-yet")
    assert refused.status_code == 403
    assert "datasets:create" in refused.json()["message"]
    assert "not-there-yet" not in datasets(server)


def test_a_token_cannot_make_a_key_that_may_more_than_itself(server: "Server", dataset: str) -> None:
    token = server.client.post(
        "/v2/tokens",
        json={
            "name": "one dataset",
            "datasetCapabilities": {dataset: {"ingest": ["create"]}},
            "orgCapabilities": {"apiTokens": ["create"]},
        },
    ).json()["token"]

    for names, status in (([dataset], 201), (["*"], 403), ([dataset, "demo"], 403)):
        answer = server.client.post(
            "/tailrace/v1/keys",
            json={"protocol": "baselime", "name": "t", "datasets": names},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == status


def test_the_protocol_may_come_under_its_former_name(server: "Server") -> None:
    answer = server.client.post("/tailrace/v1/keys", json={"dialect": "moesif", "name": "t", "dataset": "demo"})

    assert (answer.status_code, answer.json()["protocol"]) == (201, "moesif")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "name"),
        ({"name": "t", "dataset": "a"}, "protocol"),
        ({"protocol": "syslog", "name": "t"}, "baselime, datamix, moesif"),
        ({"protocol": "baselime", "name": "t"}, "datasets"),
        ({"protocol": "baselime", "name": "t", "datasets": []}, "datasets"),
        ({"protocol": "baselime", "name": "t", "datasets": [1]}, "datasets"),
        ({"protocol": "baselime", "name": "t", "datasets": ["a"], "dataset": "a"}, "not both"),
        ({"protocol": "baselime", "name": "t", "destination": "a.b.c"}, "destination"),
        ({"protocol": "datamix", "name": "t", "dataset": "a"}, "destination"),
        ({"protocol": "datamix", "name": "t", "destination": "a.b"}, "system.application.environment"),
        ({"protocol": "datamix", "name": "t", "destination": "a.b.c.d"}, "system.application.environment"),
        ({"protocol": "datamix", "name": "t", "destination": "a..c"}, "system.application.environment"),
        ({"protocol": "datamix", "name": "t", "destination": "a.b c.d"}, "not valid"),
        ({"protocol": "moesif", "name": "t", "dataset": "*"}, "one dataset"),
        ({"protocol": "moesif", "name": "t", "datasets": ["a"]}, "dataset"),
        ({"protocol": "moesif", "name": "", "dataset": "a"}, "name"),
        ({"protocol": "moesif", "name": "t", "dataset": "a", "expiresAt": "soon"}, "RFC 3339"),
        ({"protocol": "moesif", "name": "t", "dataset": "a", "expiresAt": "2001-01-01T00:00:00Z"}, "passed"),
        ({"protocol": "moesif", "name": "t", "dataset": "a", "expires_at": "2099-01-01T00:00:00Z"}, "expires_at"),
        ({"protocol": "moesif", "name": "t", "dataset": "a", "key": "k" * 49}, "50"),
        ({"protocol": "baselime", "name": "t", "dataset": "a", "key": "k" * 15}, "16"),
        ({"protocol": "baselime", "name": "t", "dataset": "a", "key": "two words and more"}, "printable"),
    ],
)
def test_a_body_that_is_no_key_is_400_and_says_why(server: "Server", body: dict[str, Any], said: str) -> None:
    answer = server.client.post("/tailrace/v1/keys", json=body)

    assert answer.status_code == 400
    assert said in answer.json()["message"]


def test_a_key_brought_along_is_kept_once(server: "Server") -> None:
    brought = f"{next(_NUMBERS):010}".rjust(60, "k")

    assert create(server, "moesif", key=brought)["key"] == brought
    again = server.client.post(
        "/tailrace/v1/keys", json={"protocol": "moesif", "name": "t", "dataset": "demo", "key": brought}
    )
    assert again.status_code == 409
    assert brought not in again.text


def test_a_key_revoked_is_gone(server: "Server") -> None:
    made = create(server, "baselime")

    assert server.client.delete(f"/tailrace/v1/keys/{made['id']}").status_code == 204
    assert server.client.get(f"/tailrace/v1/keys/{made['id']}").status_code == 404
    assert server.client.delete(f"/tailrace/v1/keys/{made['id']}").status_code == 404


@pytest.mark.parametrize("protocol", SCOPES)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/datasets"),
        ("GET", "/v2/user"),
        ("GET", "/tailrace/v1/keys"),
        ("POST", "/tailrace/v1/sql"),
        ("GET", "/metrics"),
        ("POST", "/axiom/v1/datasets/demo/ingest"),
    ],
)
def test_a_key_is_no_token(server: "Server", protocol: str, method: str, path: str) -> None:
    key = create(server, protocol)["key"]

    answer = server.client.request(method, path, headers={"Authorization": f"Bearer {key}"})

    assert answer.status_code == 401
    assert protocol in answer.json()["message"]
    assert key not in answer.text


def test_the_answers_about_keys_are_for_no_other_origin(server: "Server") -> None:
    for path in ("/tailrace/v1/keys", "/tailrace/v1/keys/some"):
        preflight = httpx.options(
            server.url + path,
            headers={"Origin": "https://example.org", "Access-Control-Request-Method": "POST"},
            trust_env=False,
        )
        answer = server.client.get(path, headers={"Origin": "https://example.org"})

        assert "access-control-allow-origin" not in preflight.headers
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("protocol", SCOPES)
def test_nothing_of_a_key_is_on_disk(server: "Server", protocol: str) -> None:
    brought = f"{next(_NUMBERS):010}".rjust(60, protocol[0])
    secrets = [create(server, protocol)["key"], create(server, protocol, key=brought)["key"]]

    stored = contents(server.data) | {server.errors: server.errors.read_bytes()}

    assert server.data / "tailrace.db" in stored
    assert not [path for path, content in stored.items() if any(secret.encode() in content for secret in secrets)]


@pytest.mark.parametrize(
    ("protocol", "path", "header", "accepted", "refused"),
    [
        ("baselime", "/baselime/v1/api-keys-a", "x-api-key", 202, 401),
        ("moesif", "/moesif/v1/users", "X-Moesif-Application-Id", 201, 401),
    ],
)
def test_a_key_is_good_until_it_is_revoked_and_for_its_protocol(
    server: "Server", protocol: str, path: str, header: str, accepted: int, refused: int
) -> None:
    made = create(server, protocol)
    body: Any = [] if protocol == "baselime" else {"user_id": "u"}

    def send(key: str) -> int:
        return http.post(server.url + path, json=body, headers={header: key}).status_code

    assert send(made["key"]) == accepted
    for other in SCOPES.keys() - {protocol}:
        assert send(create(server, other)["key"]) == refused
    assert server.client.delete(f"/tailrace/v1/keys/{made['id']}").status_code == 204
    assert send(made["key"]) == refused


def test_a_datamix_key_opens_sessions_until_it_is_revoked(server: "Server") -> None:
    made = create(server, "datamix")

    def send(key: str) -> int:
        return http.post(f"{server.url}/sessions", json={"key": key}).status_code

    assert send(made["key"]) == 200
    for other in SCOPES.keys() - {"datamix"}:
        assert send(create(server, other)["key"]) == 403
    assert server.client.delete(f"/tailrace/v1/keys/{made['id']}").status_code == 204
    assert send(made["key"]) == 403
