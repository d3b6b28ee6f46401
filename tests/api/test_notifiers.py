"""Notifiers over HTTP."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server

HOOK = {"webhook": {"url": "https://example.com/hook"}}


def create(server: "Server", **body: Any) -> dict[str, Any]:
    answer = server.client.post("/v2/notifiers", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.mark.parametrize(
    "properties",
    [
        HOOK,
        {"slack": {"slackUrl": "https://hooks.example.com/x"}},
        {"email": {"emails": ["a@example.com", "b@example.com"]}},
        {"discord": {"discordChannel": "c", "discordToken": "t"}},
        {"discordWebhook": {"discordWebhookUrl": "https://discord.example.com/x"}},
        {"opsgenie": {"apiKey": "k", "isEU": True}},
        {"pagerduty": {"routingKey": "k", "token": "t"}},
        {"microsoftTeams": {"microsoftTeamsUrl": "https://teams.example.com/x"}},
        {
            "customWebhook": {
                "url": "https://example.com/x",
                "headers": {"X-Version": "1"},
                "body": '{"t": "{{.Title}}"}',
                "secretHeaders": {"Authorization": "Bearer s"},
            }
        },
    ],
    ids=lambda properties: next(iter(properties)),
)
def test_a_notifier_of_each_kind_is_the_same_object_when_made_got_and_listed(
    server: "Server", properties: dict[str, Any]
) -> None:
    made = create(server, name="one of them", properties=properties)

    assert made["id"].startswith("notify_")
    assert (made["name"], made["properties"]) == ("one of them", properties)
    assert set(made) == {"id", "name", "properties", "createdAt", "createdBy", "updatedAt"}
    assert server.client.get(f"/v2/notifiers/{made['id']}").json() == made
    assert made in server.client.get("/v2/notifiers").json()


def test_a_change_puts_another_in_its_place(server: "Server") -> None:
    made = create(server, name="first", properties=HOOK)
    path = f"/v2/notifiers/{made['id']}"
    email = {"email": {"emails": ["a@example.com"]}}

    changed = server.client.put(
        path, json={**made, "name": "second", "properties": email, "disabledUntil": "2100-01-02T01:00:00+01:00"}
    )

    assert changed.status_code == 200
    assert changed.json() == {
        **made,
        "name": "second",
        "properties": email,
        "disabledUntil": "2100-01-02T00:00:00Z",
        "updatedAt": changed.json()["updatedAt"],
    }
    assert server.client.get(path).json() == changed.json()


def test_a_notifier_that_is_deleted_is_gone(server: "Server") -> None:
    path = f"/v2/notifiers/{create(server, name='n', properties=HOOK)['id']}"

    assert server.client.delete(path).status_code == 204
    for method in ("GET", "DELETE", "PUT"):
        body = {"name": "n", "properties": HOOK} if method == "PUT" else None
        answer = server.client.request(method, path, json=body)
        assert (answer.status_code, "not found" in answer.json()["message"]) == (404, True)


def test_what_is_no_notifier_is_400(server: "Server") -> None:
    bodies: list[Any] = [{}, [], {"name": "n"}, {"name": "n", "properties": {"webhook": {}}}]
    for body in bodies:
        answer = server.client.post("/v2/notifiers", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, 400)
