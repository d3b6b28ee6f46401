"""A body that is nested without end costs few looks at it, whatever opens and closes there."""

from collections.abc import Callable
from typing import Any

import pytest

from tailrace.events import BadRequest
from tailrace.parsing import Limits, TimeRule, malformed, parse_json

DEEP = 50_000
OPENINGS = [b'{"a":', b"[", b'{"a":[', b'[{"a b" : ', b'{"":\t', b'[{"a":[[']


class Looks:
    """A pattern that counts how often it is asked."""

    def __init__(self, pattern: Any) -> None:
        self.pattern = pattern
        self.count = 0

    def match(self, text: bytes, at: int) -> Any:
        self.count += 1
        return self.pattern.match(text, at)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    counted = Looks(malformed._INSIDE)
    monkeypatch.setattr(malformed, "_INSIDE", counted)
    return lambda: counted.count


def closing(opening: bytes) -> bytes:
    return b"".join({ord("{"): b"}", ord("["): b"]"}.get(code, b"") for code in reversed(opening))


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.costly
def test_a_deep_element_is_passed_over_at_once(looks: Callable[[], int], opening: bytes) -> None:
    body = b'[{"n":1,"x":' + opening * DEEP + b"1" + closing(opening) * DEEP + b'},{"n":2}]'
    found = parse_json(body, times=TimeRule("_time"), limits=Limits(max_depth=3), received_ns=0)

    assert looks() < 100
    first, second = found.events.splitlines()
    assert found.count == 2
    assert first.startswith(b'{"n":1,"x":')
    assert first.endswith(b"}")
    assert b"null" in first
    assert len(first) < 100
    assert second == b'{"n":2}'


@pytest.mark.parametrize("opening", OPENINGS)
def test_a_deep_array_without_end_is_refused_at_once(looks: Callable[[], int], opening: bytes) -> None:
    with pytest.raises(BadRequest, match="not closed"):
        parse_json(b"[" + opening * DEEP, times=TimeRule("_time"), limits=Limits(), received_ns=0)

    assert looks() < 100
