"""deploy/fleet: the compose file, its load balancer and the chart name settings that there are, and one another."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tailrace.config import load
from tailrace.server.settings import SCHEMA, Settings

FLEET = Path(__file__).parents[2] / "deploy" / "fleet"
COMPOSE: dict[str, Any] = yaml.safe_load((FLEET / "compose.yaml").read_text())
NODES = [name for name, service in COMPOSE["services"].items() if "TAILRACE_ROLE" in service.get("environment", {})]
CHART = FLEET / "chart"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
ROLES = ("lake", "ingest", "query")


def settings_of(environment: Mapping[str, str]) -> Settings:
    """Return the settings that the variables of a container make; what is wrong with one is a failure."""
    texts = {name: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for name, value in environment.items()}
    settings, _ = load(None, {}, {name: value for name, value in texts.items() if name.startswith("TAILRACE_")}, SCHEMA)
    return settings


@pytest.mark.parametrize("node", NODES)
def test_a_node_of_the_compose_file_has_settings_of_a_fleet(node: str) -> None:
    service = COMPOSE["services"][node]
    fleet = settings_of(service["environment"]).fleet

    assert (fleet.role, fleet.node, fleet.node_url) == (node.partition("-")[0], node, f"http://{node}:8080")
    assert fleet.fleet_secret
    assert set(service["depends_on"]) <= set(COMPOSE["services"])
    assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= set(COMPOSE["volumes"])


@pytest.mark.parametrize("worker", ["worker-0", "worker-1"])
def test_a_worker_of_the_compose_file_reads_the_tables_of_the_nodes(worker: str) -> None:
    service, node = COMPOSE["services"][worker], COMPOSE["services"][NODES[0]]
    own, its = settings_of(service["environment"]), settings_of(node["environment"])

    assert service["command"] == ["worker"]
    assert (own.server.storage, own.spread.dask) == (its.server.storage, its.spread.dask)
    assert own.spread.dask.removeprefix("tcp://").partition(":")[0] in COMPOSE["services"]


def test_the_load_balancer_knows_each_node_by_its_role() -> None:
    backends: dict[str, set[str]] = {}
    name = ""
    for line in (FLEET / "haproxy.cfg").read_text().splitlines():
        words = line.split()
        if words[:1] == ["backend"]:
            name = words[1]
        elif words[:1] == ["server"]:
            assert words[2] == f"{words[1]}:8080"
            backends.setdefault(name, set()).add(words[1])

    assert backends == {role: {node for node in NODES if node.startswith(role)} for role in ROLES}


def test_the_charts_settings_are_such_and_its_roles_are_all() -> None:
    assert set(VALUES["roles"]) == set(ROLES)
    assert set(VALUES["settings"]) <= set(SCHEMA.settings)
    template = (CHART / "templates" / "nodes.yaml").read_text()
    named = {name.lower() for name in re.findall(r"name: TAILRACE_(\w+),", template)}
    assert named <= set(SCHEMA.settings)
    used = set(re.findall(r"\.Values\.(\w+)", "".join(path.read_text() for path in (CHART / "templates").iterdir())))
    assert used == set(VALUES)


def test_the_chart_has_the_version_of_the_package() -> None:
    from tailrace import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize(("workers", "tls"), [(0, ""), (2, ""), (0, "certificates")])
def test_the_chart_is_rendered_without_a_complaint(workers: int, tls: str) -> None:
    chosen = [str(CHART), "--set", f"workers.replicas={workers},tlsSecretName={tls}"]
    subprocess.run(["helm", "lint", "--strict", *chosen], check=True, capture_output=True)
    rendered = subprocess.run(["helm", "template", "r", *chosen], check=True, capture_output=True, text=True).stdout
    documents = [document for document in yaml.safe_load_all(rendered) if document]

    kinds = [each["kind"] for each in documents]
    assert (kinds.count("StatefulSet"), kinds.count("Deployment")) == (len(ROLES), 2 if workers else 0)
    for each in documents:
        if each["kind"] != "StatefulSet":
            continue
        (container,) = each["spec"]["template"]["spec"]["containers"]
        environment = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        url = environment.pop("TAILRACE_NODE_URL")  # which has the pod's name in it
        assert url.startswith("https://" if tls else "http://")
        assert bool(settings_of(environment).fleet.fleet_tls_ca) == bool(settings_of(environment).tls.key) == bool(tls)
        mounted = {volume["mountPath"] for volume in container["volumeMounts"]}
        assert {"/etc/tailrace/tls"} <= mounted or not tls
        assert bool(settings_of(environment).spread.dask) == bool(workers)
        assert settings_of(environment).fleet.role == each["metadata"]["name"].removeprefix("r-")
