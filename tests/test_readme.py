"""README.md: its commands and both its programs run as printed, against a dataset of the test's own."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "README.md").read_text()
JS = ROOT / "tests" / "clients" / "js"


def printed(language: str, server: "Server", dataset: str) -> list[str]:
    """Return the page's programs in a language, with the test's server and dataset in place of the ones that it
    names.
    """
    programs = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return [re.sub(r"\bdemo\b", dataset, each.replace("http://127.0.0.1:8080", server.url)) for each in programs]


@pytest.fixture
def named(server: "Server", request: pytest.FixtureRequest) -> str:
    """Return a dataset whose name needs no quotes, like the page's."""
    return server.create("readme_" + request.node.name.removeprefix("test_the_").split("_")[0])


def run(command: list[str], server: "Server", dataset: str, **more: str) -> str:
    environment = {
        "TOKEN": server.api_token(dataset),
        "TAILRACE_DATA": str(server.data),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=more.get("cwd", ROOT),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def stored(server: "Server", dataset: str) -> list[dict[str, object]]:
    return server.sql(f'SELECT level, "http.status" AS status FROM "{dataset}"')


def test_the_commands_run_as_printed(server: "Server", named: str) -> None:
    *_, sending, asking = printed("sh", server, named)

    answers = run(["bash", "-euo", "pipefail", "-c", f"{sending}\n{asking}"], server, named)

    assert '"ingested":1,"failed":0' in answers
    assert '"columns":[[200],[1]]' in answers
    assert '"count_":1' in answers
    assert '"level":"info"' in answers


def test_what_it_has_made_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"`make (\w+)", PAGE)

    assert targets
    assert set(targets) <= set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_the_python_program_runs_as_printed(server: "Server", named: str) -> None:
    (program,) = printed("python", server, named)

    run([sys.executable, "-c", program], server, named)

    assert stored(server, named) == [{"level": "info", "status": 200}]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_javascript_program_runs_as_printed(server: "Server", named: str) -> None:
    (program,) = printed("js", server, named)

    run(["node", "--input-type=module", "-e", program], server, named, cwd=str(JS))

    assert stored(server, named) == [{"level": "info", "status": 200}]


def test_it_links_to_pages_that_are_there() -> None:
    assert [link for link in re.findall(r"\]\((\w[\w/]*\.md)", PAGE) if not (ROOT / link).is_file()] == []


def test_what_it_links_is_there() -> None:
    assert [link for link in re.findall(r"\]\((?!https?:)([^)#]+)", PAGE) if not (ROOT / link).exists()] == []


def test_at_a_package_index_its_links_lead_to_the_repository() -> None:
    hatch_build = pytest.importorskip("hatch_build")  # hatchling is not among the newest libraries
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    hatch_build.TailraceMetadataHook(str(ROOT), {}).update(project)

    text = project["readme"]["text"]
    assert project["readme"]["content-type"] == "text/markdown"
    assert "](https://github.com/tailrace/tailrace/blob/main/docs/console.md)" in text
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not link.startswith("https://")] == []


def test_it_is_one_screen() -> None:
    assert len(PAGE.splitlines()) <= 100
