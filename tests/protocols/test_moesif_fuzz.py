"""Whatever a body holds: it is stored, refused by element, or refused as a whole, and what is stored is JSON."""

import copy
import json
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.events import values
from support.moesif import call
from support.rounds import rounds

from tailrace.events import BadRequest, TailraceError, TooLarge
from tailrace.parsing import Limits
from tailrace.protocols.moesif_entities import COMPANY, SUBSCRIPTION, USER, check_entities, merged
from tailrace.protocols.moesif_events import ACTION, CALL, EventSender, check_events

SENDER = EventSender("203.0.113.1", 1_790_000_000_000_000_000, 0.0)
SMALL = Limits(max_event_bytes=4096, max_string_bytes=256, max_depth=8)
NAMES = ["request", "response", "time", "uri", "verb", "ip_address", "headers", "body", "status", "action_name",
         "user_id", "company_id", "subscription_id", "anonymous_id", "session_token", "transaction_id", "items",
         "X-Moesif-Tags", "x-moesif-user-id", "_time", "_id", "_revision", "transfer_encoding", "metadata"]  # fmt: skip

names = st.sampled_from(NAMES)
leaves = values | st.sampled_from(["2026-08-16T09:21:56Z", "200", 404, "base64", "x" * 300, "", 2**64])
objects = st.recursive(
    st.dictionaries(names, leaves, max_size=5),
    lambda inner: st.dictionaries(names, leaves | inner, max_size=5),
    max_leaves=12,
)


@st.composite
def spoiled(draw: st.DrawFn) -> dict[str, Any]:
    """Return a good call with one member changed or added."""
    event = copy.deepcopy(call(action_name="a", user_id="u", company_id="c", subscription_id="s"))
    part = draw(st.sampled_from([event, event["request"], event["response"]]))
    part[draw(names)] = draw(leaves | objects)
    return event


@settings(max_examples=rounds(100))
@given(st.lists(spoiled() | objects | values, max_size=5), st.sampled_from([CALL, ACTION]), st.booleans())
def test_events(elements: list[Any], kind: Any, small: bool) -> None:
    body = json.dumps(elements).encode()
    limits = SMALL if small else Limits()
    try:
        checked = check_events(body, kind, single=False, sender=SENDER, limits=limits)
    except TailraceError:
        return
    parsed = checked.parsed
    lines = parsed.events.splitlines()
    assert len(lines) == parsed.count == len(parsed.times) == len(checked.transaction_ids)
    assert parsed.count + len(parsed.rejections) == len(elements)
    assert [each.index for each in parsed.rejections] == sorted({each.index for each in parsed.rejections})
    for line, transaction_id in zip(lines, checked.transaction_ids, strict=True):
        event = json.loads(line)
        assert event["request"]["ip_address"] is not None
        assert "_time" not in event
        assert transaction_id is None or event["transaction_id"] == transaction_id
        assert len(line) <= limits.max_event_bytes


@settings(max_examples=rounds(100))
@given(st.lists(spoiled() | objects | values, max_size=5), st.sampled_from([USER, COMPANY, SUBSCRIPTION]))
def test_entities(elements: list[Any], entity: Any) -> None:
    try:
        found = check_entities(json.dumps(elements).encode(), entity, single=False, limits=SMALL, received_ns=0)
    except TailraceError:
        return
    assert len(found.upserts) + len(found.rejections) == len(elements)
    state: dict[str, Any] = {}
    for upsert in found.upserts:
        assert upsert.id
        state = merged(state, upsert.members)
        for path, value in state.items():
            json.loads(bytes(value))
            assert path.partition(".")[0] not in ("_id", "_revision", "_time")


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(body: bytes, single: bool) -> None:
    with suppress(BadRequest, TooLarge):
        check_events(body, CALL, single=single, sender=SENDER, limits=Limits())
