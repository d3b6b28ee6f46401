"""Headers of answers that a page of another origin may read."""

import pytest

from tailrace.api.apl import HISTORY_HEADER, MESSAGES_HEADER
from tailrace.protocols.baselime import REASON
from tailrace.server.app import ALLOW_ORIGIN

EXPOSED = {name.strip().lower() for name in dict(ALLOW_ORIGIN)[b"access-control-expose-headers"].decode().split(",")}


@pytest.mark.parametrize("name", [HISTORY_HEADER, MESSAGES_HEADER, REASON.decode(), "Retry-After"])
def test_what_an_answer_says_in_a_header_is_for_pages_too(name: str) -> None:
    assert name.lower() in EXPOSED
