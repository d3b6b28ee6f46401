"""APL text to tokens."""

import re
from typing import Any, NamedTuple

from tailrace.query.apl.errors import AplError
from tailrace.query.apl.times import TIMESPAN_UNITS, datetime_ns, timespan_ns

NAME, STRING, LONG, REAL, TIMESPAN, DATETIME, OPERATOR, END = (
    "name", "string", "long", "real", "timespan", "datetime", "operator", "end",
)  # fmt: skip

MAX_LONG = 2**63 - 1


class Token(NamedTuple):
    kind: str
    text: str  # as written; a name, and an operator, as it is compared
    value: Any  # of a literal
    at: int
    end: int

    @property
    def in_message(self) -> str:
        """For a message."""
        if self.kind == END:
            return "the end of the query"
        text = self.text if len(self.text) <= 40 else f"{self.text[:37]}..."
        return f"{text!r}" if self.kind in (OPERATOR, NAME) else f"the {self.kind} {text}"


_UNITS = "|".join(sorted(TIMESPAN_UNITS, key=len, reverse=True))
_TOKEN = re.compile(
    rf"""
    (?P<space>(?:\s+|//[^\n]*)+)
    |(?P<wide_literal>(?:datetime|date|timespan|time)\s*\()
    |(?P<name>[^\W\d]\w*|\$[^\W\d]\w*)
    |(?P<timespan>\d+(?:\.\d+)?(?:{_UNITS})(?!\w))
    |(?P<real>\d+\.\d+(?:[eE][+-]?\d+)?(?!\w)|\d+\.(?![\w.*])|\d+[eE][+-]?\d+(?!\w))
    |(?P<hex>0[xX][0-9a-fA-F]+(?!\w))
    |(?P<long>\d+(?!\w))
    |(?P<raw>@"(?:[^"]|"")*"|@'(?:[^']|'')*')
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<operator>==|!=|<>|<=|>=|=~|!~|\.\.|=>|[-+*/%<>=!(){{}}\[\],;:.|~?])
    """,
    re.VERBOSE | re.DOTALL,
)
# Possessive, so that it takes time in proportion to the text, whatever that is.
_INSIDE = re.compile(r"""\s*+(?:(["'])(?P<quoted>[^"']*+)\1\s*+\)|(?P<plain>(?:[^()]++|\([^()]*+\))*+)\))""")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v", "0": "\0",
            "\\": "\\", '"': '"', "'": "'", "/": "/", "`": "`"}  # fmt: skip


def tokens(text: str) -> list[Token]:
    """All tokens, the last one END. Raise AplError."""
    tokens: list[Token] = []
    at = 0
    match = _TOKEN.match
    size = len(text)
    while at < size:
        here = match(text, at)
        if here is None:
            raise _no_token(text, at)
        kind = here.lastgroup
        end = here.end()
        written = here[0]
        if kind == "name" or kind == "operator":
            tokens.append(Token(kind, written, None, at, end))
        elif kind == "space":
            pass
        elif kind == "string":
            tokens.append(Token(STRING, written, unescaped(written[1:-1], at + 1), at, end))
        elif kind == "raw":
            quote = written[1]
            tokens.append(Token(STRING, written, written[2:-1].replace(quote * 2, quote), at, end))
        elif kind == "long":
            tokens.append(Token(LONG, written, _long(written, 10, at), at, end))
        elif kind == "hex":
            tokens.append(Token(LONG, written, _long(written, 16, at), at, end))
        elif kind == "real":
            tokens.append(Token(REAL, written, float(written), at, end))
        elif kind == "timespan":
            tokens.append(Token(TIMESPAN, written, timespan_ns(written), at, end))
        else:
            end = _wide_literal(tokens, text, here)
        at = end
    tokens.append(Token(END, "", None, size, size))
    return tokens


def _wide_literal(tokens: list[Token], text: str, here: "re.Match[str]") -> int:
    """Read `datetime(…)` or `timespan(…)`, whose inside is no APL."""
    content = _INSIDE.match(text, here.end())
    if content is None:
        raise AplError(f"'{here[0].rstrip('( ')}(' without its ')'", here.start())
    end = content.end()
    inside = (content["plain"] if content["quoted"] is None else content["quoted"]).strip()
    is_time = here[0][0] == "d"
    kind = DATETIME if is_time else TIMESPAN
    value = None
    if inside != "null":
        value = datetime_ns(inside) if is_time else timespan_ns(inside)
        if value is None:
            wanted = (
                "a time such as 2026-01-31, 2026-01-31 23:59 or 2026-01-31T23:59:59.5Z"
                if is_time
                else "a span such as 1.5h, 100ms or 1.02:03:04.5"
            )
            raise AplError(f"{text[here.start() : end]!r} is not {wanted}", here.start())
    tokens.append(Token(kind, text[here.start() : end], value, here.start(), end))
    return end


def unescaped(text: str, at: int = 0) -> str:
    """Return the value of a string literal's inside. An escape that APL does not have stands for itself, so that a
    regular expression may be written with single backslashes."""
    if "\\" not in text:
        return text

    def value(escape: "re.Match[str]") -> str:
        digits = escape[1] or escape[2] or escape[3]
        if digits:
            code = int(digits, 16)
            if code > 0x10FFFF:
                raise AplError(f"{escape[0]!r} is no Unicode character", at + escape.start())
            return chr(code)
        return _ESCAPED.get(escape[4], escape[0])

    result = _ESCAPE.sub(value, text)
    try:
        return result.encode("utf-16", "surrogatepass").decode("utf-16")  # two escapes may be one character
    except UnicodeDecodeError as error:
        raise AplError("a string holds half of a character (a lone surrogate)", at) from error


def _long(written: str, base: int, at: int) -> int:
    if len(written) < 40:
        value = int(written, base)
        if value <= MAX_LONG + 1:  # which a minus sign may make the least integer
            return value
    raise AplError(f"the number {written[:40]} is larger than the largest integer, {MAX_LONG}", at)


def _no_token(text: str, at: int) -> AplError:
    met = text[at]
    if met in "\"'" or (met == "@" and text[at + 1 : at + 2] in ('"', "'")):
        return AplError("a string that has no end", at)
    if met.isdigit():
        word = re.match(r"[\w.]+", text[at:])
        shown = word[0][:40] if word else met
        return AplError(
            f"{shown!r} is neither a number nor a timespan (units are w, d, h, m, s, ms, microsecond, tick); "
            f"a name like this is written ['{shown}']",
            at,
        )
    if met == "`":
        return AplError("'`' has no meaning in APL; a name with special characters is written ['name']", at)
    return AplError(f"{met!r} has no meaning in APL outside of strings", at)
