"""Labels as text are what Prometheus and Go mean by them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.events import BadRequest
from tailrace.protocols.doors.loki_labels import parse_labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("{}", ()),
        (' {\n a="b" , c = \'d"e\' , } ', (("a", "b"), ("c", 'd"e'))),
        (r'{a="\"\\\n\t\a\u00e9\377\U0001F600"}', (("a", '"\\\n\t\aé\ufffd\U0001f600'),)),
        (r'{a="\xc3\xa9"}', (("a", "é"),)),
        (r"{a=`\n`,b=''}", (("a", r"\n"), ("b", ""))),
        (r'{"a.b"="c","d\"e"="f"}', (("a.b", "c"), ('d"e', "f"))),
        (r'{a="C:\dir\8",b="\ud800\U00110000\400"}', (("a", r"C:\dir\8"), ("b", r"\ud800\U00110000\400"))),
        ('{a="}",b=","}', (("a", "}"), ("b", ","))),
    ],
)
def test_labels_are_read(text: str, labels: tuple[tuple[str, str], ...]) -> None:
    assert parse_labels(text.encode()) == labels


@pytest.mark.parametrize(
    "text",
    ["", "a", 'a="b"', '{a="b"', '{a="b"} x', "{a=b}", '{a="b}', "{,}", '{a="b",,}', '{a!="b"}', '{1a="b"}', "{{}"],
)
def test_what_is_no_labels_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="are not written like"):
        parse_labels(text.encode())


# JSON's escapes are Go's, but for `\/`, which it need not have, and for what is beyond 16 bits.
_TEXTS = st.text(st.characters(max_codepoint=0xFFFF, blacklist_categories=["Cs"]), max_size=20)


@given(st.dictionaries(st.from_regex(r"[A-Za-z_]\w{0,5}", fullmatch=True).filter(str.isascii), _TEXTS, max_size=4))
def test_what_is_written_is_read(labels: dict[str, str]) -> None:
    for ascii in (True, False):
        written = ",".join(f"{name}={json.dumps(value, ensure_ascii=ascii)}" for name, value in labels.items())
        assert dict(parse_labels(f"{{{written}}}".encode())) == labels


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda tail: b'{a="' + tail))
def test_any_bytes_are_labels_or_refused(text: bytes) -> None:
    try:
        labels = parse_labels(text)
    except BadRequest as error:
        labels = ((error.message, ""),)
    assert all(isinstance(part, str) for label in labels for part in label)
