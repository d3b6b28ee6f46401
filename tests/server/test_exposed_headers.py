"""Headers of answers that a page of another origin may read."""

import pytest

from tailrace.api.apl import HISTORY_HEADER, MESSAGES_HEADER
from tailrace.protocols.baselime import REASON
from tailrace.protocols.registry import PROTOCOLS
from tailrace.server.cross_origin import cross_origin

EXPOSED = dict(cross_origin(PROTOCOLS).headers)[b"access-control-expose-headers"].decode().lower().split(", ")


@pytest.mark.parametrize("name", [HISTORY_HEADER, MESSAGES_HEADER, REASON.decode(), "Retry-After"])
def test_what_an_answer_says_in_a_header_is_for_pages_too(name: str) -> None:
    assert name.lower() in EXPOSED
