"""A protobuf message takes memory in proportion to its bytes, whatever it holds."""

import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from support.small_messages import BODY_BYTES, MIB, repeated

from tailrace.events import TooLarge
from tailrace.parsing import wire_fields
from tailrace.parsing.protobuf import ProtobufField, message_classes
from tailrace.parsing.wire_fields import MAX_FIELDS, TooManyFields, check_fields

ALLOWED = 8  # of the bytes sent, in peak memory: copies of a message and of those in it; decoded, it was 20 to 100
FREE_BYTES = 16 * MIB  # that what is not counted may become

CLASSES = message_classes(
    "tailrace.wire_fields",
    {
        "Outer": (
            ProtobufField(1, "outers", "Outer", is_repeated=True),
            ProtobufField(2, "plain", "Plain"),
            ProtobufField(3, "numbers", "sint64", is_repeated=True),
            ProtobufField(4, "wide", "double", is_repeated=True),
            ProtobufField(5, "texts", "bytes", is_repeated=True),
            ProtobufField(6, "text", "bytes"),
        ),
        "Plain": (ProtobufField(1, "number", "int64"),),
    },
)
OUTER = CLASSES["Outer"]


def fields_of(message: Any) -> int:
    """Return how many fields are counted of a message that was decoded."""
    inner: int = sum(1 + fields_of(each) for each in message.outers)
    scalars = len(message.numbers) + len(message.wide) + len(message.texts)
    # A packed field is counted, and each of its numbers.
    plain: bool = message.HasField("plain")
    return inner + plain + scalars + bool(message.numbers) + bool(message.wide)


OUTERS: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.builds(dict),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "outers": st.lists(inner, max_size=3),
            "plain": st.fixed_dictionaries({"number": st.integers(0, 2**63 - 1)}),
            "numbers": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
            "wide": st.lists(st.floats(), max_size=5),
            "texts": st.lists(st.binary(max_size=200), max_size=5),
            "text": st.binary(max_size=200),
        },
    ),
    max_leaves=12,
)


@given(OUTERS)
def test_the_fields_of_any_message_are_counted_as_it_is_decoded(made: dict[str, Any]) -> None:
    message = OUTER(**made)
    count = fields_of(message)
    raw = message.SerializeToString()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire_fields, "WHOLE_BYTES", -1)
        patch.setattr(wire_fields, "MAX_FIELDS", count)
        check_fields(raw, OUTER.DESCRIPTOR)
        if count:
            patch.setattr(wire_fields, "MAX_FIELDS", count - 1)
            with pytest.raises(TooManyFields, match=f"more than {count - 1} fields"):
                check_fields(raw, OUTER.DESCRIPTOR)


@given(st.binary(max_size=100))
def test_any_bytes_are_passed_to_their_end(raw: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire_fields, "WHOLE_BYTES", -1)
        check_fields(raw, OUTER.DESCRIPTOR)
        check_fields(raw, AnyValue.DESCRIPTOR)


@pytest.mark.costly
def test_what_holds_events_may_have_one_for_each_of_some_bytes() -> None:
    many = MAX_FIELDS + 40_000
    plain = ScopeSpans(spans=[Span(name="x" * 12)] * many).SerializeToString()
    check_fields(plain, ScopeSpans.DESCRIPTOR, holds_events=True)
    with pytest.raises(TooLarge, match="bytes of ScopeSpans too many are those of more than"):
        check_fields(repeated(2, count=many), ScopeSpans.DESCRIPTOR, holds_events=True)


def test_values_in_values_are_counted() -> None:
    value = AnyValue()
    for _ in range(3):
        value.array_value.values.add(array_value={"values": [AnyValue(int_value=1)] * (MAX_FIELDS // 3)})
    assert len(value.SerializeToString()) > wire_fields.WHOLE_BYTES
    with pytest.raises(TooManyFields, match="AnyValue has more than 100000 fields"):
        check_fields(value.SerializeToString(), AnyValue.DESCRIPTOR)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is that of Linux")
@pytest.mark.costly
def test_small_messages_take_memory_in_proportion_to_their_bytes() -> None:
    program = "from support.small_messages import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    peaks = {name: int(grown) for name, grown in map(str.split, done.stdout.splitlines())}

    assert len(peaks) == 30
    assert {name: peak // MIB for name, peak in peaks.items() if peak > ALLOWED * BODY_BYTES + FREE_BYTES} == {}
