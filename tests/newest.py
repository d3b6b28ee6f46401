"""The fast tests against the newest libraries that pyproject.toml allows, in an environment of their own.

A program, not a test: a failure tells what a coming release breaks, and is nobody's fault yet, so it exits with 0.
"""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv" / "newest"
PYTHON = ENVIRONMENT / "bin" / "python"
LOCKED = Path(sys.executable).parent  # where uv is

FAST = "not process and not costly and not slow"  # as in `make test-fast`, with its rounds


def main() -> None:
    """Install, tell what differs from the lock, run the fast tests and tell how they ended."""
    uv = [str(LOCKED / "uv"), "pip"]
    install = [*uv, "install", "--quiet", "--python", str(PYTHON), "--upgrade", "--group", "dev", "--editable", "."]
    steps = (
        [str(LOCKED / "uv"), "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(ENVIRONMENT)],
        install,
    )
    for step in steps:
        if subprocess.run(step, cwd=ROOT, check=False).returncode:
            print("newest: NOT INSTALLED, so nothing is known of the newest libraries", flush=True)
            return
    newer = sorted(_versions(uv, str(PYTHON)) - _versions(uv, sys.executable))
    print("newest: other than locked:", ", ".join(newer) or "nothing", flush=True)
    if not newer:
        return
    pytest = [str(PYTHON), "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", FAST, "--timeout", "120"]
    environment = {**os.environ, "PYTHONWARNINGS": "", "TAILRACE_TEST_ROUNDS": "0.2"}
    ended = subprocess.run(pytest, cwd=ROOT, env=environment, check=False).returncode
    print("newest: the fast tests", "pass" if ended == 0 else f"FAIL (pytest: {ended})", flush=True)


def _versions(uv: list[str], python: str) -> set[str]:
    listed = subprocess.run(
        [*uv, "freeze", "--exclude-editable", "--python", python], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split())


if __name__ == "__main__":
    main()
