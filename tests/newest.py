"""What a library's change could break, with the newest that pyproject.toml allows, in an environment of its own.

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

# Where this code meets its libraries; what is left out is our own code alone, or meets them as these do.
TESTS = (
    "tests/access/test_access.py",  # SQLAlchemy, as in storage
    "tests/cli/test_app.py",  # Typer
    "tests/cli/test_output.py",  # Rich
    "tests/clients/test_adbc.py",
    "tests/clients/test_axiom_py.py",
    "tests/clients/test_baselime_py.py",
    "tests/clients/test_datadog.py",
    "tests/clients/test_elastic.py",
    "tests/clients/test_fluent.py",
    "tests/clients/test_gelf.py",
    "tests/clients/test_honeycomb.py",
    "tests/clients/test_loki.py",
    "tests/clients/test_moesif_py.py",
    "tests/clients/test_moesif_wsgi.py",
    "tests/clients/test_otlp_py.py",
    "tests/clients/test_splunk_handler.py",
    "tests/lake",  # Arrow and Delta
    "tests/oidc",  # Authlib, joserfc
    "tests/parsing/test_csv.py",  # Arrow
    "tests/parsing/test_encodings.py",  # compression
    "tests/parsing/test_json.py",  # msgspec
    "tests/parsing/test_otlp.py",  # protobuf
    "tests/protocols/doors",
    "tests/query",  # DuckDB, sqlglot
    "tests/server/flight_sql",  # gRPC, Arrow
    "tests/server/test_grpc_listener.py",
    "tests/server/test_http.py",  # Granian, Starlette
    "tests/storage",  # SQLAlchemy, Alembic
)
LEFT_OUT = (
    "tests/query/apl",  # our own parser
    "tests/query/functions/test_any_value.py",  # whose functions the examples beside it call
    "tests/query/test_fuzz.py",
    "tests/query/test_kql.py",  # what the language means, as the golden tests say too
)
CHOSEN = "not costly and not slow"


def main() -> None:
    """Install, tell what differs from the lock, run these tests and tell how they ended."""
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
    pytest = [str(PYTHON), "-m", "pytest", "-n", "2", "--dist", "worksteal", "-m", CHOSEN, "--timeout", "120"]
    environment = {**os.environ, "PYTHONWARNINGS": "", "TEST_ROUNDS": "0.2"}
    chosen = [*(f"--ignore={path}" for path in LEFT_OUT), *TESTS]
    ended = subprocess.run([*pytest, *chosen], cwd=ROOT, env=environment, check=False).returncode
    print("newest: the tests", "pass" if ended == 0 else f"FAIL (pytest: {ended})", flush=True)


def _versions(uv: list[str], python: str) -> set[str]:
    listed = subprocess.run(
        [*uv, "freeze", "--exclude-editable", "--python", python], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return set(listed.stdout.split())


if __name__ == "__main__":
    main()
