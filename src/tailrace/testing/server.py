"""A running server as tests see it: what clients need to reach it, and the events that they sent."""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from msgspec import Struct

from tailrace.access import is_audit
from tailrace.access.tokens import new_secret
from tailrace.protocols.registry import PROTOCOLS

POLL_S = 0.02
TIMEOUT_S = 10.0
USER_AGENT = "tailrace.testing"  # of these helpers, whose own refusals are nothing to tell
_OWN_FIELDS = ("_sysTime", "_rest")
_RIGHTS = ("create", "read", "update", "delete")
DEFAULT_TARGETS = {"datamix": "test.tailrace.test"}  # whose keys are for a destination of three parts
DEFAULT_TARGET = "test"


class EventsMissing(AssertionError):
    """Fewer events came than a test waits for."""


class _Client(Struct, frozen=True):
    """How a vendor's clients are told where they send to."""

    mount: str  # of the path of its base URL
    variables: Mapping[str, str]  # in which {url}, {base}, {key} and {target} stand for what they are


CLIENTS: Mapping[str, _Client] = {
    "axiom": _Client(
        "", {"AXIOM_URL": "{url}", "AXIOM_TOKEN": "{key}", "AXIOM_ORG_ID": "test", "AXIOM_DATASET": "{target}"}
    ),
    "baselime": _Client(
        "/baselime/v1",
        {
            "BASELIME_URL": "{base}",
            "BASELIME_API_KEY": "{key}",
            "BASELIME_KEY": "{key}",
            "COLLECTOR_URL": "{base}",
            "BASELIME_DATASET": "{target}",
        },
    ),
    "datamix": _Client(
        "/datamix", {"DATAMIX_URL": "{base}", "DATAMIX_KEY": "{key}", "DATAMIX_DESTINATION": "{target}"}
    ),
    "moesif": _Client("/moesif", {"MOESIF_BASE_URI": "{base}", "MOESIF_APPLICATION_ID": "{key}"}),
    "opentelemetry": _Client(
        "",
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "{url}",
            "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20{key},X-Axiom-Dataset={target}",
        },
    ),
}


class TailraceServer:
    """A running server. `token` is an API token for every dataset; `owner_token` may do everything."""

    def __init__(self, url: str, owner_token: str) -> None:
        self.url = url
        self.owner_token = owner_token
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {owner_token}", "User-Agent": USER_AGENT},
            timeout=TIMEOUT_S,
            trust_env=False,
        )
        made = self._call(
            "POST",
            "/v2/tokens",
            {
                "name": "tests",
                "datasetCapabilities": {"*": {"ingest": ["create"], "query": ["read"]}},
                "orgCapabilities": {"datasets": _RIGHTS, "annotations": _RIGHTS, "monitors": _RIGHTS},
            },
        )
        self.token: str = made["token"]
        self._keys: dict[tuple[str, str], str] = {}
        self.reset()

    def close(self) -> None:
        """Close the connections of these helpers."""
        self._http.close()

    def create_dataset(self, name: str) -> str:
        """Create a dataset, where there is none of that name; return the name."""
        if name not in self.datasets():
            self._call("POST", "/v2/datasets", {"name": name})
        return name

    def datasets(self) -> list[str]:
        """Return the names of the datasets."""
        names = [found["name"] for found in self._call("GET", "/v2/datasets")]
        return [name for name in names if not is_audit(name)]

    def base_url(self, client: str) -> str:
        """Return the base URL for the clients of a vendor, one of CLIENTS."""
        return self.url + _client(client).mount

    def key(self, protocol: str, target: str | None = None) -> str:
        """Return a key of Baselime, Datamix or Moesif; the token for any other client.

        The target is the dataset, or Datamix's destination, of which a dataset is named; it is created. A Baselime key
        is for every dataset.
        """
        target = target or DEFAULT_TARGETS.get(protocol, DEFAULT_TARGET)
        kind = next((found.key for found in PROTOCOLS if found.name == protocol and found.key), None)
        self.create_dataset(target)
        if kind is None:
            return self.token
        if (protocol, target) not in self._keys:
            scope: dict[str, Any] = {"datasets": ["*"]} if kind.scope == "datasets" else {kind.scope: target}
            made = self._call("POST", "/tailrace/v1/keys", {"protocol": protocol, "name": "tests", **scope})
            self._keys[protocol, target] = made["key"]
        return self._keys[protocol, target]

    def environment(self, client: str, target: str | None = None) -> dict[str, str]:
        """Return the variables with which a vendor's clients send to a dataset, or destination, which is created."""
        target = target or DEFAULT_TARGETS.get(client, DEFAULT_TARGET)
        known = {"url": self.url, "base": self.base_url(client), "key": self.key(client, target), "target": target}
        return {name: value.format(**known) for name, value in _client(client).variables.items()}

    def query(self, apl: str) -> list[dict[str, Any]]:
        """Return the rows of a query in APL, over all times."""
        body = {"apl": apl, "startTime": "1970-01-01T00:00:00Z", "endTime": "now+1d"}
        answer = self._http.post(
            "/v1/datasets/_apl", json=body, headers={"Accept": "application/x-ndjson"}, params={"format": "tabular"}
        )
        return [json.loads(line) for line in _checked(answer).text.splitlines()]

    def events(self, dataset: str) -> list[dict[str, Any]]:
        """Return the events of a dataset by time, as far as the limit of a query goes; none where there is no dataset.

        Members of objects are fields with a dot, `http.status`; null is left out, and `_sysTime`.
        """
        quoted = dataset.replace('"', '""')
        answer = self._http.post("/tailrace/v1/sql", json={"sql": f'SELECT * FROM "{quoted}" ORDER BY _time, _sysTime'})
        if answer.status_code == httpx.codes.NOT_FOUND:
            return []
        return [_event(row) for row in _checked(answer).json()["rows"]]

    def wait_for_events(self, dataset: str, count: int = 1, *, timeout_s: float = TIMEOUT_S) -> list[dict[str, Any]]:
        """Return the events of a dataset once there are as many; raise EventsMissing, with what else was met."""
        deadline_s = time.monotonic() + timeout_s
        while len(found := self.events(dataset)) < count:
            if time.monotonic() > deadline_s:
                raise EventsMissing(self._missing(dataset, len(found), count, timeout_s))
            time.sleep(POLL_S)
        return found

    def refusals(self) -> list[dict[str, Any]]:
        """Return what the server refused since the last reset, equal requests once."""
        return [
            found
            for found in self._call("GET", "/tailrace/v1/refusals")
            if found["time"] > self._since and found.get("userAgent") != USER_AGENT
        ]

    def reset(self) -> None:
        """Empty the server: drop all datasets, revoke the keys of `key` and `environment`; tokens stay."""
        for name in self.datasets():
            self._call("DELETE", f"/v2/datasets/{quote(name, safe='')}")
        for key in self._call("GET", "/tailrace/v1/keys"):
            self._call("DELETE", f"/tailrace/v1/keys/{key['id']}")
        self._keys.clear()
        refused = self._call("GET", "/tailrace/v1/refusals")
        self._since = max((found["time"] for found in refused), default="")

    def _missing(self, dataset: str, found: int, count: int, timeout_s: float) -> str:
        lines = [f"{found} of {count} events came to the dataset {dataset!r} within {timeout_s:g} s"]
        others = {name: len(self.events(name)) for name in self.datasets() if name != dataset}
        lines += [f"in the dataset {name!r}: {number}" for name, number in others.items() if number]
        lines += [
            f"refused: {each['method']} {each['path']}: {each['status']} {each['message']}" for each in self.refusals()
        ]
        return "\n".join(lines)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        answer = _checked(self._http.request(method, path, json=body))
        return answer.json() if answer.content else None


def _client(name: str) -> _Client:
    if name not in CLIENTS:
        raise ValueError(f"{name!r} is none of {', '.join(CLIENTS)}")
    return CLIENTS[name]


def _checked(answer: httpx.Response) -> httpx.Response:
    if not answer.is_success:
        raise ValueError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer


def _event(row: Mapping[str, Any]) -> dict[str, Any]:
    whole = {**row, **(row.get("_rest") or {})}
    return {name: value for name, value in whole.items() if value is not None and name not in _OWN_FIELDS}


def new_owner_token() -> str:
    """Return a secret for the owner's token of a new server."""
    return new_secret("personal")
