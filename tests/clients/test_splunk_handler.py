"""The Python handler for the HTTP Event Collector, unmodified: what is logged is stored."""

import logging
from typing import TYPE_CHECKING

import pytest
from splunk_handler import SplunkHandler

if TYPE_CHECKING:
    from conftest import Server


def handler(server: "Server", token: str, index: str, **more: object) -> SplunkHandler:
    """Return a handler that sends when it is flushed."""
    made = SplunkHandler(
        host="127.0.0.1",
        port=server.url.rpartition(":")[2],
        token=token,
        index=index,
        protocol="http",
        verify=False,
        hostname="web-1",
        source="app",
        sourcetype="text",
        retry_count=1,
        retry_backoff=0,
        **{"flush_interval": 3600.0, **more},
    )
    made.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    return made


def test_what_is_logged_is_stored(server: "Server", dataset: str) -> None:
    sender = handler(server, server.api_token(dataset), dataset)
    logger = logging.Logger("test")
    logger.addHandler(sender)
    texts = [f"INFO line {number} € \U0001f600" for number in range(50)]
    for text in texts:
        logger.info(text.removeprefix("INFO "))
    sender.shutdown()

    rows = server.sql(f'SELECT _raw, host, source, sourcetype, _time FROM "{dataset}" ORDER BY _time, _raw')
    assert sorted(row["_raw"] for row in rows) == sorted(texts)
    assert {(row["host"], row["source"], row["sourcetype"]) for row in rows} == {("web-1", "app", "text")}
    assert len({row["_time"] for row in rows}) > 1


def test_what_is_refused_is_told(server: "Server", dataset: str, capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.Logger("test")
    logger.addHandler(handler(server, server.api_token(dataset), "no-such-index", flush_interval=0))
    logger.info("hello")
    assert "400 Client Error" in capsys.readouterr().out
    logger.handlers = [handler(server, "none", dataset, flush_interval=0)]
    logger.info("hello")
    assert "403 Client Error" in capsys.readouterr().out
