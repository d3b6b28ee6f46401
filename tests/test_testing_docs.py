"""docs/testing.md: its programs run as printed, and its tables name what is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import tailrace as command_line
from support.node import PROJECT, needs_node

from tailrace.testing import CLIENTS, TailraceServer

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "testing.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
(JAVASCRIPT,) = re.findall(r"```js\n(.*?)```", PAGE, re.DOTALL)


def test_it_has_every_client_with_its_variables_and_base_url() -> None:
    rows = {
        name: (set(re.findall(r"`([A-Z_]{4,})`", variables)), base.removeprefix("`URL").rstrip("` |"))
        for name, variables, base in re.findall(r"^\| `(\w+)` \| (.*?) \| (`URL.*)$", PAGE, re.MULTILINE)
    }

    assert rows == {name: (set(client.variables), client.mount) for name, client in CLIENTS.items()}


def test_what_it_says_of_a_server_is_there() -> None:
    table = PAGE.partition("| | |\n| --- | --- |\n")[2].partition("\n\n")[0]
    named = set(re.findall(r"`(\w+)(?:\(.*?\))?`", "\n".join(line.split("|")[1] for line in table.splitlines())))

    made_with_one = {"url", "token"}
    assert {name for name in named - made_with_one if not hasattr(TailraceServer, name)} == set()
    assert made_with_one <= named


@pytest.mark.slow
def test_its_programs_in_python_run_as_printed(tmp_path: Path) -> None:
    of_pytest, anywhere = PYTHON
    (tmp_path / "test_order.py").write_text(of_pytest)

    subprocess.run([sys.executable, "-m", "pytest", "-q", str(tmp_path)], cwd=tmp_path, check=True, timeout=120)
    subprocess.run([sys.executable, "-c", anywhere], cwd=tmp_path, check=True, timeout=120)


@needs_node
@pytest.mark.slow
def test_its_program_in_javascript_runs_as_printed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(PROJECT)
    program = f"{JAVASCRIPT}\nprocess.exit(count === 1 ? 0 : 1);\n"

    ran = command_line("exec", "--dataset", "shop", "--", "node", "--input-type=module", "-e", program)

    assert ran.returncode == 0, ran.stderr
