"""`tailrace key`, run as a user runs it, against a real server."""

import os
import pty
import shutil
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING

import pytest
from support.commands import Ran, tailrace

if TYPE_CHECKING:
    from conftest import Server

TIMEOUT_S = 120.0
SCOPES = {
    "baselime": ["--dataset", "cli-keys-a", "--dataset", "cli-keys-b"],
    "datamix": ["--destination", "cli.keys.test"],
    "moesif": ["--dataset", "cli-keys-moesif"],
}


def key(server: "Server", *arguments: str, stdin: str = "") -> Ran:
    """Run `tailrace key` against the server, found by its data directory."""
    return tailrace("key", *arguments, stdin=stdin, env={"TAILRACE_DATA": str(server.data)})


@pytest.mark.parametrize("protocol", SCOPES)
def test_a_key_is_created_listed_and_revoked(server: "Server", protocol: str) -> None:
    made = key(server, "create", f"by cli for {protocol}", "--protocol", protocol, *SCOPES[protocol], "--expires", "1d")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert len(secret) >= 40
    assert secret not in made.stderr

    listed = key(server, "list").stdout
    (line,) = [line for line in listed.splitlines() if f"by cli for {protocol}" in line]
    assert secret not in listed
    assert all(name in line for name in SCOPES[protocol][1::2])

    revoked = key(server, "revoke", line.split()[0], "--yes")
    assert (revoked.returncode, revoked.stdout) == (0, f"revoked key {line.split()[0]}\n")
    assert f"by cli for {protocol}" not in key(server, "list").stdout


def test_the_former_name_of_the_flag_works(server: "Server") -> None:
    made = key(server, "create", "former", "--dialect", "datamix", "--destination", "cli.former.flag")

    assert (made.returncode, len(made.stdout.strip())) == (0, 40)


def test_a_key_that_the_clients_have_is_read_from_the_input(server: "Server") -> None:
    brought = f"cli-brought-along-{uuid.uuid4()}"  # keys are told apart by their last characters

    made = key(
        server,
        "create",
        "brought",
        "--protocol",
        "moesif",
        "--dataset",
        "cli-keys-m",
        "--key",
        "-",
        stdin=brought + "\n",
    )

    assert (made.returncode, made.stdout) == (0, brought + "\n"), made.stderr


def test_an_unknown_key_id_leads_to_the_list(server: "Server") -> None:
    run = key(server, "revoke", "by name", "--yes")

    assert run.returncode == 1
    assert "`tailrace key list`" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["t", "--protocol", "syslog", "--dataset", "a"], "keys are for baselime, datamix, moesif"),
        (["t", "--dataset", "a"], "--protocol"),
        (["t", "--protocol", "baselime"], "--dataset"),
        (["t", "--protocol", "moesif", "--dataset", "a", "--dataset", "b"], "takes one 'dataset'"),
        (["t", "--protocol", "moesif", "--destination", "a.b.c"], "--destination: a moesif key takes none"),
        (["t", "--protocol", "datamix", "--dataset", "a"], "--dataset: a datamix key takes none"),
        (["t", "--protocol", "datamix", "--destination", "a.b"], "--destination: a datamix key needs one"),
        (["t", "--protocol", "moesif", "--dataset", "a", "--expires", "soon"], "soon"),
    ],
)
def test_a_wrong_call_exits_with_2(server: "Server", arguments: list[str], said: str) -> None:
    run = key(server, "create", *arguments)

    assert (run.returncode, run.stdout) == (2, "")
    assert said in " ".join(run.stderr.split())


def test_what_the_server_refuses_exits_with_1(server: "Server") -> None:
    run = key(server, "create", "t", "--protocol", "moesif", "--dataset", "cli-keys-moesif", "--key", "short")

    assert run.returncode == 1
    assert "a moesif key is 50 to 512" in run.stderr


@pytest.mark.skipif(shutil.which("curl") is None, reason="the commands shown use curl")
@pytest.mark.parametrize(
    ("protocol", "dataset"),
    [("baselime", "cli-keys-a"), ("datamix", "cli.keys.test"), ("moesif", "cli-keys-moesif")],
)
def test_the_commands_shown_send_a_first_event(server: "Server", protocol: str, dataset: str) -> None:
    made = key(server, "create", "t", "--protocol", protocol, *SCOPES[protocol])
    before = server.sql(f'SELECT count(*) AS n FROM "{dataset}"')[0]["n"]
    shown = [line.partition(":")[2] for line in made.stderr.splitlines() if line.startswith(("Open:", "Try:"))]

    run = subprocess.run(
        ["sh", "-c", "\n".join(shown)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={**os.environ, "KEY": made.stdout.strip(), "no_proxy": "*"},
    )

    assert run.returncode == 0, run.stderr
    assert server.sql(f'SELECT count(*) AS n FROM "{dataset}"')[0]["n"] == before + 1, run.stdout


def test_on_a_terminal_the_commands_shown_hold_the_key(server: "Server") -> None:
    ours, theirs = pty.openpty()
    with open(theirs, "wb") as terminal:
        run = subprocess.run(
            [sys.executable, "-m", "tailrace", "key", "create", "t", "--protocol", "moesif", *SCOPES["moesif"]],
            stdout=terminal,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "TAILRACE_DATA": str(server.data)},
        )
    with open(ours, "rb") as shown:
        secret = shown.readline().decode().strip()
    assert run.returncode == 0
    assert run.stderr.count(secret) == 2
