"""Half of a character, as what is left of an emoji that was cut in two, costs neither its event nor one beside it."""

import asyncio
import json
from pathlib import Path

from support.doors import ask, rows, token_for
from support.otlp import Json, attribute, log_records, metrics, spans
from support.serving import serving

HALF, WHOLE = "cut \ud83d", "cut \ufffd"
NS = "1767323045000000000"
CUT = attribute("k", stringValue=HALF)
CASES: list[tuple[str, Json, int]] = [  # with the number of events
    ("/loki/api/v1/push", {"streams": [{"stream": {"l": "x"}, "values": [[NS, HALF, {"m": HALF}], [NS, "good"]]}]}, 2),
    ("/v1/logs", log_records({"body": {"stringValue": HALF}}, {"body": {"stringValue": "good"}}), 2),
    ("/v1/traces", spans({"name": HALF, "startTimeUnixNano": NS, "endTimeUnixNano": NS}), 1),
    ("/v1/metrics", metrics({"name": "m", "gauge": {"dataPoints": [{"asInt": "1", "attributes": [CUT]}]}}), 1),
    ("/gelf", {"short_message": HALF, "_k": HALF}, 1),
    ("/1/events/logs", {"message": HALF}, 1),
]


def test_half_a_character_is_replaced_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with serving(tmp_path) as served:
            token = await token_for(served, "logs")
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            for path, body, count in CASES:
                served.parts.lake.create("logs")
                answer = await ask(served, "POST", path, content=json.dumps(body).encode(), headers=headers)
                assert answer.is_success, (path, answer.text)
                stored = await rows(served, "logs")
                assert len(stored) == count, path
                assert WHOLE in [value for row in stored for value in row.values()], path
                served.parts.lake.drop("logs")

    asyncio.run(run())
