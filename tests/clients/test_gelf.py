"""graypy, unmodified, by HTTP: its records are events, and its token, which is in the path, is not in the log."""

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import graypy
import pytest
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import Server


@pytest.mark.parametrize("compress", [True, False])
def test_graypy(server: "Server", dataset: str, compress: bool) -> None:
    token = server.api_token(dataset)
    where = urlsplit(server.url)
    handler = graypy.GELFHTTPHandler(
        where.hostname, where.port, compress=compress, path=f"/gelf/{token}", localname="web-1", debugging_fields=False
    )
    logger = logging.Logger("my-logger")
    logger.addHandler(handler)
    refused = graypy.GELFHTTPHandler(where.hostname, where.port, path="/gelf/xaat-no-such-token")

    def sent() -> bool:
        # graypy closes its connection and waits for no answer; where that is seen first, nobody reads its request.
        try:
            raise ValueError("a fault")
        except ValueError:
            logger.exception("it broke \u20ac", extra={"user": "7", "nested": {"a": 1}})
        refused.emit(logger.makeRecord("my-logger", logging.INFO, "", 0, "lost", (), None))
        shown = server.client.get("/tailrace/v1/refusals?limit=1000").text
        return server.sql(f'SELECT count(*) AS n FROM "{dataset}"') != [{"n": 0}] and "/gelf/{secret}" in shown

    wait_until(sent)
    fields = 'message, host, level, facility, "user", nested.a AS a'
    fields += ", full_message LIKE '%ValueError: a fault%' AS trace"
    assert server.sql(f"SELECT DISTINCT {fields}, _time > '2026-01-01' AS recent FROM \"{dataset}\"") == [
        {
            "message": "it broke \u20ac",
            "host": "web-1",
            "level": 3,
            "facility": "my-logger",
            "user": "7",
            "a": 1,
            "trace": True,
            "recent": True,
        }
    ]
    shown = server.client.get("/tailrace/v1/refusals?limit=1000").text + server.errors.read_text()
    assert token not in shown
    assert "no-such-token" not in shown
