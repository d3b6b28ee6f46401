"""Texts as Base64, as code points, as parts of URLs, and in quotes."""

import base64
import urllib.parse
from typing import Any

from tailrace.query.functions.table import table
from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, STRING, cast, fn, string

FUNCTIONS, _add = table("string")

_ASCII_OF_HEX = {f"{n:0{digits}}": chr(n) for n in range(128) for digits in ("2x", "2X")}
TEXT_OF_HEX = {digits: character for digits, character in _ASCII_OF_HEX.items() if character not in "&="}


@udf("apl_base64_bytes", [STRING], DYNAMIC, otherwise=[])
def _base64_bytes(text: str) -> list[int]:
    return list(base64.b64decode(text, validate=True))


@udf("apl_base64_text", [STRING], STRING)
def _base64_text(text: str) -> str:
    return base64.b64decode(text, validate=True).decode()


@udf("apl_base64_of_bytes", [DYNAMIC], STRING, otherwise="")
def _base64_of_bytes(values: Any) -> str:
    return base64.b64encode(bytes(values)).decode() if isinstance(values, list) else ""


@udf("apl_url_decode", [STRING], STRING)
def _url_decode(text: str) -> str:
    return _unquoted(text, errors="strict") if "%" in text else text


def _unquoted(text: str, *, errors: str = "replace") -> str:
    """Decode as urllib.parse.unquote() does, in a fraction of the time where what is encoded is ASCII."""
    first, *others = text.split("%")
    try:
        return first + "".join([_ASCII_OF_HEX[each[:2]] + each[2:] for each in others])
    except KeyError:
        return urllib.parse.unquote(text, errors=errors)


@udf("apl_codepoints", [STRING], DYNAMIC)
def _codepoints(text: str) -> list[int]:
    return list(text.encode()) if text.isascii() else [*map(ord, text)]


@udf("apl_from_codepoints", [DYNAMIC], STRING)
def _from_codepoints(values: Any) -> str:
    return "".join(chr(each) for each in values)


# fmt: off
_add("base64_decode_toarray", "text:text", DYNAMIC, lambda c, text: _base64_bytes(text),
     "The bytes of a Base64 text; an empty array where it is none.",
     'print base64_decode_toarray("YWI=")', [97, 98])
_add("base64_decode_tostring", "text:text", STRING, lambda c, text: _base64_text(text),
     "The UTF-8 text of a Base64 text; null where it is none.",
     'print base64_decode_tostring("aMOp")', "hé")
_add("base64_encode_fromarray", "bytes:dynamic", STRING, lambda c, values: _base64_of_bytes(values),
     "Base64 of an array of bytes, which are numbers from 0 to 255; the empty string for anything else.",
     "print base64_encode_fromarray(dynamic([97, 98]))", "YWI=")
_add("base64_encode_tostring", "text:text", STRING,
     lambda c, text: string(fn("to_base64", fn("encode", text.sql))),
     "Base64 of a text's UTF-8.", 'print base64_encode_tostring("hé")', "aMOp")
_add("url_decode", "text:text", STRING, lambda c, text: _url_decode(text),
     "The text with %XX sequences decoded; null where they are no UTF-8.",
     'print url_decode("a%20b%C3%A9")', "a bé")
_add("url_encode", "text:text", STRING, lambda c, text: string(fn("url_encode", text.sql)),
     "The text with every character but letters, digits and -_.~ as %XX.",
     'print url_encode("a b&é")', "a%20b%26%C3%A9")
_add("unicode_codepoints_from_string", "text:text", DYNAMIC, lambda c, text: _codepoints(text),
     "The code points of a text.", 'print unicode_codepoints_from_string("aé")', [97, 233])
_add("unicode_codepoints_to_string", "codepoints:dynamic", STRING, lambda c, values: _from_codepoints(values),
     "The text of an array of code points; null where one is none.",
     "print unicode_codepoints_to_string(dynamic([97, 233]))", "aé")
_add("quote", "text:text", STRING, lambda c, text: string(cast(fn("to_json", text.sql), "VARCHAR")),
     "The text in double quotes, escaped as in JSON.", 'print quote("a\\"b")', '"a\\"b"')
# fmt: on
