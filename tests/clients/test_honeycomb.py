"""libhoney for Python and JavaScript, unmodified: what is sent is stored, and each event is told its status."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import libhoney
from support.node import DOORS, needs_node, run_program

if TYPE_CHECKING:
    from conftest import Server

EVENTS: list[dict[str, Any]] = [
    {
        "time": f"2026-01-02T03:04:{number:02}.123Z",
        "samplerate": 1 + number,
        "data": {"n": number, "text": f"€ {number}", "part": {"ok": True, "ms": 1.5}},
    }
    for number in range(20)
]
FIELDS = '_time, samplerate, n, text, "part.ok", "part.ms"'
STORED = [
    {
        "_time": f"2026-01-02T03:04:{number:02}.123Z",
        "samplerate": 1 + number,
        "n": number,
        "text": f"€ {number}",
        "part.ok": True,
        "part.ms": 1.5,
    }
    for number in range(20)
]


def spaced(dataset: str) -> str:
    """Return a name with a space that stands for the dataset."""
    return dataset.replace("-", " ", 1)


def test_python_sends(server: "Server") -> None:
    dataset = server.create("honey-python")
    client = libhoney.Client(
        writekey=server.api_token(dataset), dataset=dataset, api_host=server.url, block_on_response=True
    )
    for each in EVENTS:
        event = client.new_event(each["data"])
        event.created_at = datetime.fromisoformat(each["time"]).astimezone(UTC)
        event.sample_rate = each["samplerate"]
        event.send_presampled()
    for name, key in ((spaced(dataset), client.writekey), (dataset, "none"), ("no-such", client.writekey)):
        event = client.new_event({"n": 100})
        event.dataset, event.writekey, event.metadata = name, key, name + key
        event.send()
    client.close()
    responses = list(iter(client.responses().get, None))

    assert sorted(each["status_code"] for each in responses) == [*[202] * 21, 401, 403]
    assert server.sql(f'SELECT {FIELDS} FROM "{dataset}" WHERE n < 100 ORDER BY n') == STORED
    assert server.sql(f'SELECT count(*) AS events FROM "{dataset}"') == [{"events": 21}]


@needs_node
def test_javascript_sends(server: "Server") -> None:
    dataset = server.create("honey-javascript")
    task = {
        "url": server.url,
        "token": server.api_token(dataset),
        "dataset": dataset,
        "spaced": spaced(dataset),
        "events": EVENTS,
    }

    told = run_program("honeycomb.mjs", task, project=DOORS)

    assert told == [*[{"status": 202, "failed": False}] * 21, {"status": 401, "failed": True}]
    rows = server.sql(f'SELECT {FIELDS} FROM "{dataset}" ORDER BY n')
    assert rows == [STORED[0], *STORED]
