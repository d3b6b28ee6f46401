"""Roles and groups over HTTP: as Axiom's Terraform provider asks for them, and in force."""

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from conftest import Server

ROLES = "/v2/rbac/roles"
GROUPS = "/v2/rbac/groups"


def made(server: "Server", path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def user(server: "Server", name: str, role: str = "none") -> tuple[str, dict[str, str]]:
    """Return a user, and the header of a personal token of theirs."""
    found = made(server, "/v2/users", {"name": name, "email": f"{name}@example.com", "role": role})["id"]
    token = made(server, f"/tailrace/v1/users/{found}/tokens", {"name": name})["token"]
    return found, {"Authorization": f"Bearer {token}"}


def asked(server: "Server", dataset: str, headers: dict[str, str]) -> httpx.Response:
    return server.client.post("/v1/datasets/_apl?format=tabular", json={"apl": f"['{dataset}']"}, headers=headers)


def test_a_role_is_the_same_when_made_read_listed_and_changed(server: "Server", dataset: str) -> None:
    body = {
        "name": "rbac-same",
        "datasetCapabilities": {dataset: {"query": ["read"], "ingest": []}, "other": {"query": None}},
        "viewCapabilities": {"v": {"query": ["read"]}},
        "orgCapabilities": {"monitors": ["read"], "users": None},
    }
    role = made(server, ROLES, body)

    assert role == {
        "id": role["id"],
        "name": "rbac-same",
        "description": "",
        "members": [],
        "datasetCapabilities": {dataset: {"query": ["read"]}},
        "viewCapabilities": {"v": {"query": ["read"]}},
        "orgCapabilities": {"monitors": ["read"]},
    }
    assert server.client.get(f"{ROLES}/{role['id']}").json() == role
    assert role in server.client.get(ROLES).json()
    changed = server.client.put(f"{ROLES}/{role['id']}", json={"name": "rbac-changed"}).json()
    assert changed == role | {
        "name": "rbac-changed",
        "datasetCapabilities": {},
        "viewCapabilities": {},
        "orgCapabilities": {},
    }
    assert server.client.get(f"{ROLES}/{role['id']}").json() == changed
    assert server.client.delete(f"{ROLES}/{role['id']}").status_code == 204
    assert server.client.get(f"{ROLES}/{role['id']}").status_code == 404


def test_a_group_is_the_same_when_made_read_listed_and_changed(server: "Server") -> None:
    member, _ = user(server, "rbac-grouped")
    role = made(server, ROLES, {"name": "rbac-of-group"})["id"]
    group = made(server, GROUPS, {"name": "rbac-group", "description": "d", "members": [member], "roles": [role]})

    assert group == {
        "id": group["id"],
        "name": "rbac-group",
        "description": "d",
        "isManaged": False,
        "members": [member],
        "roles": [role],
    }
    assert server.client.get(f"{GROUPS}/{group['id']}").json() == group
    assert group in server.client.get(GROUPS).json()
    changed = server.client.put(f"{GROUPS}/{group['id']}", json={"name": "rbac-group"}).json()
    assert changed == group | {"description": "", "members": [], "roles": []}
    assert server.client.delete(f"{GROUPS}/{group['id']}").status_code == 204
    assert server.client.delete(f"{GROUPS}/{group['id']}").status_code == 404


def test_a_base_role_is_in_force_at_once_and_until_it_goes(server: "Server", dataset: str) -> None:
    member, headers = user(server, "rbac-based")
    role = made(server, ROLES, {"name": "rbac-reader", "datasetCapabilities": {dataset: {"query": ["read"]}}})
    assert asked(server, dataset, headers).status_code == 403

    shown = server.client.put(f"/v2/users/{member}/role", json={"role": role["id"]}).json()
    assert shown["role"] == {"id": role["id"], "name": "rbac-reader"}
    assert server.client.get("/v2/user", headers=headers).json()["role"] == shown["role"]
    assert server.client.get(f"{ROLES}/{role['id']}").json()["members"] == [member]
    assert asked(server, dataset, headers).status_code == 200
    assert asked(server, "demo", headers).status_code == 403

    server.client.put(f"{ROLES}/{role['id']}", json={"name": "rbac-reader"})
    assert asked(server, dataset, headers).status_code == 403
    assert server.client.delete(f"{ROLES}/{role['id']}").status_code == 204
    assert server.client.get(f"/v2/users/{member}").json()["role"] == {"id": "none", "name": "None"}


def test_the_roles_of_a_group_are_its_members_beside_their_own(server: "Server", dataset: str) -> None:
    member, headers = user(server, "rbac-member", "read-only")
    role = made(server, ROLES, {"name": "rbac-sender", "datasetCapabilities": {dataset: {"ingest": ["create"]}}})
    send = f"/v1/datasets/{dataset}/ingest"
    assert server.client.post(send, json=[{"n": 1}], headers=headers).status_code == 403

    group = made(server, GROUPS, {"name": "rbac-senders", "members": [member], "roles": [role["id"]]})
    assert server.client.post(send, json=[{"n": 1}], headers=headers).status_code == 200
    assert asked(server, dataset, headers).status_code == 200
    assert server.client.get(f"/v2/users/{member}").json()["role"]["id"] == "read-only"

    server.client.delete(f"{ROLES}/{role['id']}")
    assert server.client.get(f"{GROUPS}/{group['id']}").json()["roles"] == []
    assert server.client.post(send, json=[{"n": 1}], headers=headers).status_code == 403


def test_a_token_makes_no_role_that_may_more_than_it_does(server: "Server", dataset: str) -> None:
    capabilities = {"rbac": ["create", "read", "update", "delete"], "users": ["create", "update", "delete"]}
    body = {"name": "rbac", "orgCapabilities": capabilities, "datasetCapabilities": {dataset: {"query": ["read"]}}}
    headers = {"Authorization": f"Bearer {made(server, '/v2/tokens', body)['token']}"}
    mighty = made(server, ROLES, {"name": "rbac-mighty", "orgCapabilities": {"datasets": ["delete"]}})["id"]
    member, _ = user(server, "rbac-above")
    above = made(server, GROUPS, {"name": "rbac-above", "members": [member], "roles": [mighty]})["id"]

    def status(method: str, path: str, body: dict[str, Any] | None = None) -> int:
        return server.client.request(method, path, json=body, headers=headers).status_code

    within = {"name": "rbac-within", "datasetCapabilities": {dataset: {"query": ["read"]}}}
    assert status("POST", ROLES, within) == 200
    assert status("POST", ROLES, {"name": "rbac-x", "orgCapabilities": {"datasets": ["delete"]}}) == 403
    assert status("PUT", f"{ROLES}/{mighty}", {"name": "rbac-x"}) == 403
    assert status("DELETE", f"{ROLES}/{mighty}") == 403
    assert status("POST", GROUPS, {"name": "rbac-x", "roles": [mighty]}) == 403
    assert status("POST", GROUPS, {"name": "rbac-x", "roles": ["admin"]}) == 403
    assert status("PUT", f"{GROUPS}/{above}", {"name": "rbac-x"}) == 403
    assert status("DELETE", f"{GROUPS}/{above}") == 403
    assert status("PUT", f"/v2/users/{member}/role", {"role": mighty}) == 403
    assert status("POST", f"/tailrace/v1/users/{member}/tokens", {"name": "x"}) == 403
    assert status("DELETE", f"/v2/users/{member}") == 403
    assert server.client.get(f"{GROUPS}/{above}").json()["members"] == [member]


def test_an_admin_by_a_group_may_all_but_what_owners_may(server: "Server") -> None:
    member, headers = user(server, "rbac-admin")
    made(server, GROUPS, {"name": "rbac-admins", "members": [member], "roles": ["admin"]})

    assert server.client.get("/v2/datasets", headers=headers).status_code == 200
    owner = server.client.get("/v2/user").json()["id"]
    assert server.client.put(f"/v2/users/{owner}/role", json={"role": "none"}, headers=headers).status_code == 403


def test_members_of_a_role_get_it_as_their_base_role(server: "Server") -> None:
    member, _ = user(server, "rbac-named")
    role = made(server, ROLES, {"name": "rbac-naming", "members": [member]})

    assert role["members"] == [member]
    assert server.client.get(f"/v2/users/{member}").json()["role"]["name"] == "rbac-naming"


def test_bad_roles_and_groups_are_refused_and_change_nothing(server: "Server") -> None:
    taken = made(server, ROLES, {"name": "rbac-taken"})
    group = made(server, GROUPS, {"name": "rbac-taken"})
    owner = server.client.get("/v2/user").json()["id"]

    for path, body, status in (
        (ROLES, {"name": "rbac-taken"}, 409),
        (ROLES, {"name": "axiom-x"}, 400),
        (ROLES, {"name": "Admin"}, 400),
        (ROLES, {"name": " "}, 400),
        (ROLES, {"name": "rbac-x", "orgCapabilities": {"monitor": ["read"]}}, 400),
        (ROLES, {"name": "rbac-x", "viewCapabilities": {"*": {"query": ["read"]}}}, 400),
        (ROLES, {"name": "rbac-x", "members": ["nobody"]}, 404),
        (ROLES, {"name": "rbac-x", "members": [owner]}, 409),
        (GROUPS, {"name": "rbac-taken"}, 409),
        (GROUPS, {"name": "rbac-x", "members": ["nobody"]}, 400),
        (GROUPS, {"name": "rbac-x", "roles": ["nothing"]}, 400),
        (GROUPS, {"name": "rbac-x", "roles": ["owner"]}, 400),
    ):
        answer = server.client.post(path, json=body)
        assert answer.status_code == status, answer.text
    assert server.client.put(f"{GROUPS}/{group['id']}", json={"name": "rbac-taken", "roles": ["x"]}).status_code == 400
    assert server.client.get(f"{GROUPS}/{group['id']}").json() == group
    assert server.client.get(f"{ROLES}/{taken['id']}").json() == taken
    assert not {"rbac-x"} & {each["name"] for path in (ROLES, GROUPS) for each in server.client.get(path).json()}


def test_who_leaves_the_organisation_leaves_its_groups(server: "Server") -> None:
    member, _ = user(server, "rbac-leaving")
    group = made(server, GROUPS, {"name": "rbac-left", "members": [member]})["id"]

    assert server.client.delete(f"/v2/users/{member}").status_code == 204
    assert server.client.get(f"{GROUPS}/{group}").json()["members"] == []
