"""The programs of tests/clients/js and js_doors, which use the vendors' JavaScript clients under Node.js."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1] / "clients" / "js"
DOORS = PROJECT.with_name("js_doors")
_NODE = shutil.which("node")

needs_node = pytest.mark.skipif(_NODE is None, reason="node is not installed")


def run_node(*arguments: str, stdin: str = "", timeout_s: float = 60, project: Path = PROJECT) -> str:
    """Run Node.js in a project and return what it printed; its failure is one of the test."""
    assert _NODE is not None
    assert (project / "node_modules").is_dir(), f"run 'npm ci' in {project} first, as 'make test' does"
    done = subprocess.run(
        [_NODE, *arguments], input=stdin, cwd=project, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_program(name: str, task: dict[str, Any], *, timeout_s: float = 60, project: Path = PROJECT) -> Any:
    """Run a program of a project with a task, and return the JSON in the last line that it printed."""
    return json.loads(run_node(name, stdin=json.dumps(task), timeout_s=timeout_s, project=project).splitlines()[-1])
