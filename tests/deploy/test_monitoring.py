"""deploy/prometheus and deploy/grafana: each expression is one, and each metric and label that it names exists."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from support.promql import PromQLError, parse

from tailrace.lake import MaintenanceCounters
from tailrace.server.metrics import Gauges, Metrics, _Collector

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "tailrace.rules.yml").read_text())["groups"]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "tailrace.json").read_text())
ALERTS = [rule for group in RULES for rule in group["rules"]]
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
OF_PROMETHEUS = {"instance", "job"}  # which it adds itself


def families() -> Iterator[Metric]:
    """Yield all families of metrics that a server may have."""
    nothing: dict[str, Any] = {
        field.name: {} if "Mapping" in str(field.type) else 0 for field in msgspec.structs.fields(Gauges)
    }
    metrics = Metrics()
    metrics.certificate_not_after_s = metrics.fleet_certificate_not_after_s = 1
    yield from _Collector(metrics, Gauges(**{**nothing, "maintenance": MaintenanceCounters()})).collect()
    yield from ProcessCollector(registry=None).collect()


def names_of(family: Metric) -> Iterator[str]:
    """Yield the names of a family's samples."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "info": ["_info"]}
    for suffix in suffixes.get(family.type, [""]):
        yield family.name + suffix


KNOWN: dict[str, set[str]] = {"up": set()} | {
    name: {*getattr(family, "_labelnames", ()), *(["le"] if name.endswith("_bucket") else [])}
    for family in families()
    for name in names_of(family)
}
KNOWN["tailrace_build_info"] = {"version", "python", "native"}
EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in ALERTS},
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_what_an_expression_names_exists(name: str) -> None:
    expression = parse(EXPRESSIONS[name])

    assert expression.selectors or "time" in EXPRESSIONS[name]
    for selector in expression.selectors:
        assert selector.labels <= KNOWN[selector.metric] | OF_PROMETHEUS, selector.metric
    found = set().union(*(KNOWN[selector.metric] for selector in expression.selectors))
    assert expression.grouped_by <= found | OF_PROMETHEUS


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description"}
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
    # What a text shows of a label is there: the expression groups by it, or groups by nothing.
    shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    expression = parse(rule["expr"])
    if expression.grouped_by:
        assert shown <= expression.grouped_by
    else:
        assert shown <= OF_PROMETHEUS


def test_the_dashboard_shows_every_metric_of_tailrace() -> None:
    shown = {selector.metric for text in EXPRESSIONS.values() for selector in parse(text).selectors}
    own = {family.name for family in families() if family.name.startswith("tailrace")}

    assert {name for name in own if not any(metric.startswith(name) for metric in shown)} <= {
        "tailrace_compactions",  # which the merged files tell
        "tailrace_log_missing_positions",  # which log_damage counts too
        "tailrace_table_log_files_set_aside",
    }


def test_the_dashboards_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


@pytest.mark.parametrize(
    "text",
    [
        "rate(a)",
        "a[5m]",
        "sum by (x rate(a[5m]))",
        "a{b=c}",
        "a ==",
        "nofunction(a)",
        "sum(a[5m])",
        "a b",
        'a{b="c"',
        "",
    ],
)
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(PromQLError):
        parse(text)
