"""What a node does while it leads begins and ends with its lease."""

import asyncio
import threading
from typing import Any

import pytest

from tailrace.server.fleet import leading
from tailrace.server.fleet.leading import LeaderParts


def test_a_beginning_that_comes_too_late_does_not_have_the_node_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leading, "TIMEOUT_S", 0.01)
    used: list[Any] = []
    part: Any = None
    made: Any = "a"
    loop = asyncio.new_event_loop()
    goes_on = threading.Event()
    parts = LeaderParts(
        loop=loop,
        make_service=lambda: part,
        make_runner=lambda: part,
        make_application=lambda *_: made,
        use=used.append,
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    loop.call_soon_threadsafe(goes_on.wait)
    try:
        with pytest.raises(TimeoutError):
            parts.begin()
    finally:
        goes_on.set()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    assert "a" not in used
