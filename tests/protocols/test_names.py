"""No package but `protocols` knows a vendor's protocol by its name. What is Axiom's is the management and query API.

Doors are open protocols and formats, some of which other packages read or write too: OTLP, syslog, Prometheus.
"""

import re
from pathlib import Path

import pytest

import tailrace
from tailrace.protocols.registry import PROTOCOLS

SOURCE = Path(tailrace.__file__).parent
# The API is Axiom's: what is of it, of its queries, tokens, roles and alerts, names its source.
OF_THE_API = ("access/", "api/", "cli/", "monitors/", "query/")
# Whose clients are named, as each is told where to send.
NAMES_CLIENTS = {"testing/server.py", "cli/execute.py"}
OTHERS = {
    "agents/application.py": "X-Axiom-Org-Id, a header by which a token's organisation is chosen",
    "agents/queries.py": "what APL stands for",
    "testing/server.py": "the variables of its clients",
    "__init__.py": "the first line of the package names whose clients it is for",
    "server/app.py": "X-Axiom-Trace-Id, a header of every answer",
    "server/cross_origin.py": "X-Axiom-Trace-Id and X-Axiom-History-Query-Id, headers of the API's answers",
    "server/flight_sql/caller.py": "X-Axiom-Org-Id, as in agents",
    "server/recorder.py": "how the API's tokens look, so that none is in a log",
    "lake/catalog.py": "the default kind of a dataset and the rule for its name, as the API has them",
}


def named(name: str) -> dict[str, list[str]]:
    """Return the lines that name a protocol, by file."""
    found: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        inside = path.relative_to(SOURCE).as_posix()
        if not inside.startswith("protocols/"):
            lines = [line.strip() for line in path.read_text().splitlines() if re.search(name, line, re.IGNORECASE)]
            found |= {inside: lines} if lines else {}
    return found


VENDORS = [protocol.name for protocol in PROTOCOLS if not protocol.has_api and not protocol.is_door]


@pytest.mark.parametrize("name", VENDORS)
def test_no_other_package_names_a_protocol(name: str) -> None:
    assert set(named(name)) <= {"__init__.py", *NAMES_CLIENTS}


def test_axiom_is_named_for_its_api_alone() -> None:
    (api,) = (protocol.name for protocol in PROTOCOLS if protocol.has_api)

    others = {file for file in named(api) if not file.startswith(OF_THE_API)}

    assert others == set(OTHERS)


def test_nothing_is_decided_by_the_name_of_the_apis_protocol() -> None:
    assert set(named('"axiom"')) == {"cli/imports.py", "testing/server.py"}  # where to import from, or to send
    # Whose credentials and errors the API has.
    assert set(named("import axiom$")) == {"api/application.py", "api/services.py"}
