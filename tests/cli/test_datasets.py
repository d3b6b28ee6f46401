"""`tailrace dataset info|fields|trim`, and what the command line says of itself."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.commands import Ran, tailrace
from typer.testing import CliRunner

from tailrace.cli import completion
from tailrace.cli.app import build

if TYPE_CHECKING:
    from conftest import Server

COMMANDS = [
    ["dataset", "create"],
    ["dataset", "info"],
    ["dataset", "fields"],
    ["dataset", "trim"],
    ["dataset", "delete"],
    ["token", "create"],
    ["token", "regenerate"],
    ["token", "revoke"],
    ["user", "create"],
    ["user", "role"],
    ["user", "token"],
    ["tail"],
    ["doctor"],
]


def on(server: "Server", *arguments: str) -> Ran:
    return tailrace(*arguments, env={"TAILRACE_URL": server.url, "TAILRACE_TOKEN": server.token})


def test_info_and_fields_show_what_a_dataset_holds(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"_time": "2026-03-01T12:00:00Z", "a": 1, "b": {"c": "x"}}, {"_time": 1772370000}])

    shown = on(server, "dataset", "info", dataset).stdout
    info = {line.split()[0]: line.split()[1:] for line in shown.splitlines()}
    fields = [line.split() for line in on(server, "dataset", "fields", dataset).stdout.splitlines()]

    assert (info["name"], info["events"], info["kept"]) == ([dataset], ["2"], ["for", "good"])
    assert info["first"] == ["event", "2026-03-01T12:00:00Z"]
    # In a file or not yet, which the age of a commit decides; the two together are what there is.
    figures = server.client.get(f"/v1/datasets/{dataset}/info").json()
    assert (figures["numFiles"] > 0) == (figures["uncommittedEvents"] == 0)
    assert figures["uncommittedEvents"] in (0, 2)
    assert info["not"] == ["committed", "2", "events"] or info["on"][-2:] == ["1", "file"]
    assert info["received"][-3:] == ["in", "2", "events"]
    assert ["a", "integer"] in fields
    assert ["b.c", "string"] in fields
    missing = on(server, "dataset", "info", "no-such-dataset")
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "not found" in missing.stderr


def test_a_dataset_is_made_with_a_retention(server: "Server", dataset: str) -> None:
    name = f"{dataset}-kept"
    assert on(server, "dataset", "create", name, "--retention", "30").returncode == 0
    assert "30 days" in on(server, "dataset", "info", name).stdout


def test_trim_deletes_what_is_older_when_it_is_meant(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"_time": "2020-01-01T00:00:00Z", "n": 1}, {"n": 2}])

    unasked = on(server, "dataset", "trim", dataset, "--older-than", "30d")
    unknown = on(server, "dataset", "trim", dataset, "--older-than", "soon", "--yes")
    done = on(server, "dataset", "trim", dataset, "--older-than", "30d", "--yes")

    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert "--yes" in unasked.stderr
    assert unknown.returncode == 2
    assert "--older-than is 'soon'" in unknown.stderr
    assert (done.returncode, done.stdout) == (0, f"deleted 1 event of dataset {dataset}\n")
    assert server.sql(f'SELECT n FROM "{dataset}"') == [{"n": 2}]


def test_a_token_may_be_made_for_trimming_and_deleting(server: "Server", dataset: str) -> None:
    made = on(server, "token", "create", "janitor", "--dataset", f"{dataset}:trim,vacuum,data")
    assert made.returncode == 0, made.stderr

    with_it = {"TAILRACE_URL": server.url, "TAILRACE_TOKEN": made.stdout.strip()}
    trimmed = tailrace("dataset", "trim", dataset, "--older-than", "1d", "--yes", env=with_it)

    assert trimmed.returncode == 0, trimmed.stderr
    assert tailrace("query", f"['{dataset}']", env=with_it).returncode == 1


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_has_an_example(command: list[str]) -> None:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(build(), [*command, "--help"], prog_name="tailrace")

    assert done.exit_code == 0
    assert "Example" in done.stdout
    assert done.stdout.count(f"tailrace {' '.join(command)}") > 1


@pytest.mark.parametrize(
    "line",
    [
        "tailrace dataset info {given} compl-",
        pytest.param("tailrace ingest {given} compl-", marks=pytest.mark.slow),
        pytest.param("tailrace token create t {given} --dataset compl-", marks=pytest.mark.slow),
        pytest.param("tailrace export {given} compl-", marks=pytest.mark.slow),
        pytest.param("tailrace import {given} compl-", marks=pytest.mark.slow),
    ],
)
def test_the_shell_can_complete_names_of_datasets(server: "Server", line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "TIMEOUT_S", 60.0)
    for name in ("compl-a", "compl-b"):
        if server.client.get(f"/v2/datasets/{name}").status_code == 404:
            server.create(name)
    words = line.format(given=f"--data {server.data}")

    done = tailrace(env=completing(words))

    assert done.stdout.split() == ["compl-a", "compl-b"]
    assert done.stderr == ""


@pytest.mark.slow
def test_the_shell_completes_nothing_where_no_server_runs(tmp_path: Path) -> None:
    done = tailrace(env=completing(f"tailrace dataset info --data {tmp_path} compl-"))

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def completing(line: str) -> dict[str, str]:
    """Return the variables with which a shell asks how the last word of a line goes on."""
    return {"_TAILRACE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}


def test_the_shell_can_complete_commands() -> None:
    done = tailrace(env={"_TAILRACE_COMPLETE": "complete_bash", "COMP_WORDS": "tailrace dataset ", "COMP_CWORD": "2"})

    assert {"create", "list", "info", "fields", "trim", "delete"} <= set(done.stdout.split())
