"""Bodies of JSON events to parse, good and bad: with escapes, surrogates, byte order marks, depth, reserved names."""

import json
from typing import Any

from hypothesis import strategies as st

_TIMES: list[Any] = ["2026-03-05T10:11:12Z", "2026-03-05 10:11", 1_700_000_000, 1.7e18, "never", None, {"a": [1]}, True]
_NAMES = ["_time", "time", "timestamp", "a", "b", "service", "namespace", "$b", "$b.service", "_source", "_rowID", "ü"]
_TEXTS = [
    "",
    "x",
    "more than sixteen bytes",
    "é" * 9,
    '"',
    "\\",
    "}\n{",
    "],[",
    "\ud83d",
    "\U0001f600",
    "\x7f",
    "\u2028",
]
_LONG = ["n" * 9, "ü" * 5, "a\tb"]

_scalars = st.sampled_from(_TEXTS) | st.sampled_from([0, -1, 1.5, 10**30, True, None]) | st.sampled_from(_TIMES)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "_source", *_LONG]), inner, max_size=2)
    ),
    max_leaves=6,
)
_members = st.tuples(st.sampled_from(_NAMES) | st.sampled_from(_NAMES + _LONG), _values)
_scraps = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b" ", b"\r\n", b"0", b"01", b"1.5", b"null", b"nul"),
        *(b'{"a":1}', b'{"a":', b'"_time":', b'"_sysTime":1', b'"\\u005fsource":[', b'"x"', b"'", b"}'", b"NaN"),
        *(b"\\ud800", b"\xff", b"\xc3", b"\xc3\xa9", b"\xef\xbb\xbf", b"\x00", b"\x1f", b"[" * 12, b'{"a":' * 12),
    ]
)


@st.composite
def _objects(draw: st.DrawFn) -> bytes:
    """Return the text of an object, in which names may be doubled and text may be written with escapes."""
    ascii = draw(st.booleans())
    members = []
    for name, value in draw(st.lists(_members, max_size=4)):
        indent = draw(st.sampled_from([None, None, None, 1]))
        written = json.dumps(name, ensure_ascii=ascii)
        if draw(st.integers(0, 7)) == 0:
            written = '"' + "".join(f"\\u{ord(letter):04x}" for letter in name) + '"'
        members.append(
            written + draw(st.sampled_from([":", " : "])) + json.dumps(value, ensure_ascii=ascii, indent=indent)
        )
    text = "{" + draw(st.sampled_from([",", ", ", ",\n  "])).join(members) + "}"
    return text.encode("utf-8", "surrogatepass")


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Return a body: an array, lines, or objects one behind the other; often spoiled at a place or two."""
    events = draw(st.lists(_objects(), max_size=5))
    if draw(st.integers(0, 3)) == 0:
        events.insert(draw(st.integers(0, len(events))), draw(st.lists(_scraps, max_size=4).map(b"".join)))
    events = events * draw(st.sampled_from([1, 1, 1, 5]))
    space = draw(st.sampled_from([b"", b"", b" ", b"\n", b"\r\n", b"\n\n  "]))
    shape = draw(st.sampled_from(["array", "lines", "joined"]))
    between = {"array": space + b"," + space, "lines": draw(st.sampled_from([b"\n", b"\r\n"])), "joined": space}[shape]
    body = between.join(events)
    if shape == "array":
        body = space + b"[" + space + body + space + b"]" + space
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(_scraps) + body[at + draw(st.integers(0, 1)) :]
    return draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"])) + body + draw(st.sampled_from([b"", b"\n"]))
