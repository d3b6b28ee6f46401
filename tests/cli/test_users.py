"""`tailrace user` and `tailrace token regenerate`, run as a user runs them, against a real server."""

from typing import TYPE_CHECKING

from support import http
from support.commands import Ran, tailrace

if TYPE_CHECKING:
    from conftest import Server


def on(server: "Server", *arguments: str) -> Ran:
    """Run a command against the server, found by its data directory."""
    return tailrace(*arguments, env={"TAILRACE_DATA": str(server.data)})


def works(server: "Server", token: str) -> bool:
    answer = http.get(f"{server.url}/v2/user", headers={"Authorization": f"Bearer {token}"})
    return answer.status_code == 200


def test_a_user_is_created_given_a_token_and_a_role_and_removed(server: "Server") -> None:
    made = on(server, "user", "create", "Cli User", "--email", "cli@example.com", "--role", "read-only")
    assert made.returncode == 0, made.stderr
    user = made.stdout.strip()
    listed = on(server, "user", "list").stdout
    assert any(user in line and "cli@example.com" in line and "read-only" in line for line in listed.splitlines())

    token = on(server, "user", "token", "cli@example.com", "laptop").stdout.strip()
    assert works(server, token)
    assert "admin" in on(server, "user", "role", user, "admin").stdout

    assert on(server, "user", "delete", "CLI@example.com", "--yes").returncode == 0
    assert not works(server, token)


def test_the_own_name_and_email_are_changed(server: "Server") -> None:
    changed = on(server, "user", "set", "--name", "Grace", "--email", "grace@example.com")

    assert changed.returncode == 0, changed.stderr
    assert "Grace" in on(server, "user", "show").stdout
    assert server.client.get("/v1/user").json()["emails"] == ["grace@example.com"]


def test_an_unknown_user_leads_to_the_list(server: "Server") -> None:
    for user in ("nobody", "nobody@example.com"):
        run = on(server, "user", "delete", user, "--yes")
        assert run.returncode == 1
        assert "`tailrace user list`" in run.stderr


def test_a_token_is_regenerated_with_an_overlap_and_revoked(server: "Server") -> None:
    old = server.client.post("/v2/tokens", json={"name": "t", "orgCapabilities": {"datasets": ["read"]}}).json()

    run = on(server, "token", "regenerate", old["id"], "--overlap", "1h")

    assert run.returncode == 0, run.stderr
    assert works(server, run.stdout.strip())
    assert works(server, old["token"])
    assert on(server, "token", "revoke", old["id"], "--yes").returncode == 0
    assert not works(server, old["token"])
