"""The programs of tests/clients/js, which use the vendors' JavaScript clients under Node.js."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[1] / "clients" / "js"
_NODE = shutil.which("node")

needs_node = pytest.mark.skipif(_NODE is None, reason="node is not installed")


def run_node(*arguments: str, stdin: str = "", timeout_s: float = 60) -> str:
    """Run Node.js in the project and return what it printed; its failure is one of the test."""
    assert _NODE is not None
    assert (PROJECT / "node_modules").is_dir(), f"run 'npm ci' in {PROJECT} first, as 'make test' does"
    done = subprocess.run(
        [_NODE, *arguments], input=stdin, cwd=PROJECT, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_program(name: str, task: dict[str, Any], *, timeout_s: float = 60) -> Any:
    """Run a program of the project with a task, and return the JSON in the last line that it printed."""
    return json.loads(run_node(name, stdin=json.dumps(task), timeout_s=timeout_s).splitlines()[-1])
