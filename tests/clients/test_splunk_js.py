"""splunk-logging, unmodified: batches and single events are stored, and errors reach its error callback."""

from typing import TYPE_CHECKING

from support.node import DOORS, needs_node, run_program

if TYPE_CHECKING:
    from conftest import Server


@needs_node
def test_what_is_sent_is_stored(server: "Server", dataset: str) -> None:
    metadata = {"time": 1767323045123, "host": "farm.local", "source": "coop", "sourcetype": "event", "index": dataset}
    batch = [
        {"message": {"n": number, "text": f"€ {number}"}, "severity": "info", "metadata": metadata}
        for number in range(20)
    ]
    task = {
        "url": server.url,
        "token": server.api_token(dataset),
        "batch": batch,
        "single": {"message": "a line", "severity": "warn", "metadata": {**metadata, "time": 1767323046.5}},
        "lost": {"message": "nowhere", "metadata": {"index": "no-such-index"}},
    }

    stored, single, *errors = run_program("splunk.mjs", task, project=DOORS)

    assert stored == single == {"status": 200, "body": {"text": "Success", "code": 0}}
    assert [(each.get("error"), each.get("code")) for each in errors[::2]] == [
        ("Invalid token", 4),
        ("Incorrect index", 7),
    ]
    assert [each["status"] for each in errors[1::2]] == [403, 400]
    fields = '_time, host, source, sourcetype, severity, message, "message.n", "message.text"'
    rows = server.sql(f'SELECT {fields} FROM "{dataset}" ORDER BY _time, "message.n"')
    common = {"host": "farm.local", "source": "coop", "sourcetype": "event"}
    assert rows == [
        *(
            {
                "_time": "2026-01-02T03:04:05.123Z",
                **common,
                "severity": "info",
                "message": None,
                "message.n": number,
                "message.text": f"€ {number}",
            }
            for number in range(20)
        ),
        {
            "_time": "2026-01-02T03:04:06.5Z",
            **common,
            "severity": "warn",
            "message": "a line",
            "message.n": None,
            "message.text": None,
        },
    ]
