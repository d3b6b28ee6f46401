"""What stands around the code says what the code is: CI, hooks, templates, list of changes, sizes, names."""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import newest
import pytest
import yaml

from tailrace import __version__
from tailrace.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "tailrace"
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
LONG_FILES = {  # and why
    "query/apl/parser.py": "one recursive descent, whose functions call one another",
}
MADE = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def test_the_workflow_takes_the_steps_that_a_change_must_pass() -> None:
    steps = read(".github/workflows/ci.yml")["jobs"]["test"]["steps"]

    must_pass = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make ")]
    assert [step["run"] for step in steps if "run" in step] == must_pass


def test_the_page_for_contributors_has_every_target() -> None:
    told = set(re.findall(r"^\| `make ([a-z-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))

    assert told == {name for name in MADE if name != "javascript"}


def test_the_page_on_the_command_line_has_every_command() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()

    assert [name for name in COMMANDS if not re.search(rf"`(tailrace )?{name}\b|^tailrace {name} ", page, re.M)] == []


def test_what_runs_against_the_newest_libraries_is_there() -> None:
    assert [path for path in (*newest.TESTS, *newest.LEFT_OUT) if not (ROOT / path).exists()] == []


def test_the_hooks_are_programs_of_the_lock_or_targets() -> None:
    locked = (ROOT / "requirements" / "dev.txt").read_text()
    for hook in read(".pre-commit-config.yaml")["repos"][0]["hooks"]:
        program, _, target = hook["entry"].partition(" ")
        if program == "make":
            assert target in MADE
        else:
            assert f"\n{Path(program).name}==" in locked


@pytest.mark.parametrize("form", ["bug.yml", "feature.yml"])
def test_a_form_asks_for_something(form: str) -> None:
    found = read(f".github/ISSUE_TEMPLATE/{form}")

    assert {"name", "description", "labels", "body"} == set(found)
    assert any(field.get("validations", {}).get("required") for field in found["body"])


def test_the_list_of_changes_begins_with_what_is_not_released_and_has_this_version() -> None:
    first, *released = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert first == "Unreleased"
    assert released[0] == __version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_the_classifiers_name_the_versions_of_python_that_ci_runs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [line.rpartition(" ")[2] for line in project["classifiers"] if re.search(r"Python :: 3\.\d+$", line)]

    run = read(".github/workflows/ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert project["requires-python"] == f">={named[0]}"
    assert (named[0], named[-1]) == (run[0], run[-1])


def test_the_files_of_the_lock_name_the_same_versions() -> None:
    pinned = {
        name: dict(re.findall(r"^(\S+)==([^\s;]+)", (ROOT / "requirements" / name).read_text(), re.MULTILINE))
        for name in ("dev.txt", "run.txt", "build.txt")
    }

    assert pinned["run.txt"].items() <= pinned["dev.txt"].items()
    for name, version in pinned["build.txt"].items():
        assert pinned["dev.txt"].get(name, version) == version


def sources() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each module."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield str(path.relative_to(SOURCE)), path.read_text()


def test_a_file_is_short_or_has_a_reason() -> None:
    long = {name for name, text in sources() if text.count("\n") > MAX_FILE_LINES}

    assert long == set(LONG_FILES)


def test_a_function_is_short_or_has_a_reason() -> None:
    wrong = [
        f"{name}:{node.lineno} {node.name}"
        for name, text in sources()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= MAX_FUNCTION_LINES
        and "# long: " not in text.splitlines()[node.lineno - 1]
    ]

    assert wrong == [], "split them by what they do, or say `# long: why` at the def"


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md", "bench/README.md", "docs/architecture.md"])
def test_the_modules_that_a_page_names_are_there(page: str) -> None:
    files = [
        path.relative_to(ROOT).as_posix() for top in ("src", "tests", "bench") for path in (ROOT / top).rglob("*.py")
    ]
    named = re.findall(r"`([a-z_/]+\.py)`", (ROOT / page).read_text())

    assert [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []


def test_a_name_is_that_of_one_class() -> None:
    found = defaultdict(list)
    for name, text in sources():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name)

    assert {name: files for name, files in found.items() if len(files) > 1} == {}
