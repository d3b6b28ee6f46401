"""A server that is killed right behind its answers has everything that senders were told of, once, and takes more."""

from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from conftest import MakeServer

CHANNEL = {"X-Splunk-Request-Channel": "c"}


def test_what_was_answered_is_there_after_a_kill(make_server: "MakeServer") -> None:
    server = make_server().start()
    server.create("logs")
    token = server.api_token("logs")

    def send(number: int) -> int:
        """Send through every door, with a bad event among good ones, and return the id of an acknowledgement."""
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            hec = {"Authorization": f"Splunk {token}", **CHANNEL}
            body = f'{{"event":{{"n":{number},"by":"hec"}}}}'
            taken = client.post("/services/collector", content=body, headers=hec)
            partly = client.post("/services/collector", content=f'{body}{{"event":""}}{body}', headers=hec)
            assert (taken.status_code, partly.json()["invalid-event-number"], partly.json()["stored"]) == (200, 1, 2)
            batch = [{"data": {"n": number, "by": "honeycomb"}}, {"data": {}}]
            stored = client.post("/1/batch/logs", json=batch, headers={"X-Honeycomb-Team": token})
            assert [each["status"] for each in stored.json()] == [202, 400]
            logs = [{"n": number, "by": "datadog"}, 7]
            refused = client.post("/api/v2/logs", json=logs, headers={"DD-API-KEY": token})
            assert (refused.status_code, len(refused.json()["errors"])) == (400, 1)
            ack_id: int = taken.json()["ackId"]
            return ack_id

    first = send(1)
    server.kill()
    server.start()
    second = send(2)

    asked = httpx.post(
        f"{server.url}/services/collector/ack",
        json={"acks": [first, second]},
        headers={"Authorization": f"Bearer {token}", **CHANNEL},
        trust_env=False,
    )
    assert asked.json() == {"acks": {str(first): True, str(second): True}}
    rows = server.sql("SELECT by, n, count(*) AS events FROM logs GROUP BY ALL ORDER BY by, n")
    assert [tuple(row.values()) for row in rows] == [
        ("datadog", 1, 1),
        ("datadog", 2, 1),
        ("hec", 1, 3),
        ("hec", 2, 3),
        ("honeycomb", 1, 1),
        ("honeycomb", 2, 1),
    ]
