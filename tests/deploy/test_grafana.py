"""docs/grafana.md and deploy/grafana: queries of the dashboards over events run, and settings are those there are."""

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from support.spans import send_spans

from tailrace.cli.tokens import TokenRole

if TYPE_CHECKING:
    from conftest import Server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "grafana.md").read_text()
LOGS, TRACES = (json.loads((ROOT / "deploy" / "grafana" / f"{name}.json").read_text()) for name in ("logs", "traces"))


def filled(text: str, dataset: str) -> str:
    """Return a query with the values of variables, as Grafana puts them in."""
    values = {"dataset": dataset, "text": "", "__auto": "15s", "__range": "3600s"}
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], text)


def targets(dashboard: Any, dataset: str) -> dict[str, dict[str, Any]]:
    """Return the one target of each panel, by title, with its query filled in."""
    return {
        panel["title"]: {**target, "text": filled(target.get("expr") or target.get("apl"), dataset)}
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }


def test_the_dashboard_of_logs(server: "Server", dataset: str) -> None:
    end_s = time.time()
    events = [{"message": "one", "level": "info"}, {"message": "two", "level": "error"}]
    server.ingest(dataset, events)

    def asked(title: str) -> Any:
        target = targets(LOGS, dataset)[title]
        parameters: dict[str, Any] = {"query": target["text"], "limit": target.get("maxLines", 100), "step": "15s"}
        parameters |= {"start": end_s - 3600, "end": end_s + 60, "time": end_s + 60}
        path = "query" if target["queryType"] == "instant" else "query_range"
        answer = server.client.get(f"/loki/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["result"]

    assert {each["metric"]["detected_level"] for each in asked("Lines")} == {"info", "error"}
    [errors] = asked("Lines with an error")
    assert errors["value"][1] == "1"
    [rate] = asked("Bytes a second")
    assert float(rate["value"][1]) == pytest.approx(6 / 3600)
    assert {line for stream in asked("Latest lines") for _, line in stream["values"]} == {"one", "two"}
    [variable] = [each for each in LOGS["templating"]["list"] if each["name"] == "dataset"]
    label = variable["query"]["label"]
    assert dataset in server.client.get(f"/loki/api/v1/label/{label}/values").json()["data"]


def test_the_dashboard_of_traces(server: "Server", dataset: str) -> None:
    headers = {"Authorization": f"Bearer {server.api_token(dataset)}", "X-Axiom-Dataset": dataset}
    send_spans(server.url, headers, (int(time.time()) - 900) * 10**9)

    def asked(title: str) -> list[list[Any]]:
        body = {"apl": targets(TRACES, dataset)[title]["text"], "startTime": "now-1h", "endTime": "now"}
        answer = server.client.post("/v1/datasets/_apl?format=tabular", json=body)
        assert answer.status_code == 200, answer.text
        columns: list[list[Any]] = answer.json()["tables"][0]["columns"]
        return columns

    assert sum(asked("Requests")[2]) == 4
    assert sum(asked("Errors")[2]) == 1
    assert all(isinstance(value, float) for value in asked("95th percentile of their duration")[2])
    assert sorted(zip(*asked("Operations"), strict=True)) == [
        ("checkout", "pay", 2, 1, 20.0, 3000.0),
        ("frontend", "GET /", 2, 0, 250.0, 1500.0),
    ]
    service, name, message, count, _ = asked("Errors by their message")
    assert (service, name, message, count) == (["checkout"], ["pay"], ["card refused"], [1])


@pytest.mark.parametrize("dashboard", [LOGS, TRACES], ids=["logs", "traces"])
def test_panels_do_not_overlap(dashboard: Any) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_page_names_what_there_is() -> None:
    [settings] = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    axiom, loki = yaml.safe_load(settings)["datasources"]
    assert {axiom["type"], loki["type"]} == {
        panel["datasource"]["type"] for dashboard in (LOGS, TRACES) for panel in dashboard["panels"]
    }
    assert axiom["jsonData"]["apiHost"] == axiom["jsonData"]["edgeURL"] == loki["url"]
    assert set(re.findall(r"--role (\w+)", PAGE)) <= {role.value for role in TokenRole}
