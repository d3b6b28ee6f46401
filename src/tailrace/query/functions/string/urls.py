"""URLs and their queries, read and written."""

import re
import urllib.parse
from typing import Any

from tailrace.query.functions.string import format_columns
from tailrace.query.functions.string.encodings import TEXT_OF_HEX
from tailrace.query.functions.string.format_columns import MAX_QUERY_FIELDS
from tailrace.query.functions.udf import udf
from tailrace.query.values import DYNAMIC, STRING, to_json

_UNRESERVED = re.compile(r"[A-Za-z0-9_.~ -]*+")


def _quoted(text: str) -> str:
    if " " not in text and _UNRESERVED.fullmatch(text):
        return text
    return urllib.parse.quote(text, safe="")


_URL_NAMES = frozenset(
    ("scheme", "host", "port", "path", "username", "user", "password", "fragment", "query", "query parameters")
)


@udf("apl_format_url", [DYNAMIC], STRING)
def format_url(parts: Any) -> str | None:
    return _url_of_parts(parts, **parts) if isinstance(parts, dict) else None


def _url_of_parts(
    parts: dict[str, Any],
    /,
    scheme: Any = "",
    host: Any = "",
    port: Any = "",
    path: Any = "",
    username: Any = "",
    user: Any = "",
    password: Any = "",
    fragment: Any = "",
    query: Any = "",
    **others: Any,
) -> str:
    """Return the URL of a dictionary's parts, which are the other arguments too."""
    if others and not _URL_NAMES.isdisjoint(map(str.lower, others)):
        named = {key.lower(): value for key, value in parts.items() if value is not None and value != ""}
        other_query = named.pop("query parameters", "")
        named.setdefault("query", other_query)
        return _url_of_parts(named, **named)
    try:
        "".join((scheme, host, port, path, username, user, password, fragment))
    except TypeError:  # one is no text
        written = map(_written_part, (scheme, host, port, path, username, user, password, fragment))
        scheme, host, port, path, username, user, password, fragment = written
    place = host
    username = username or user
    if username or password:
        login = f"{_quoted(username)}:{_quoted(password)}" if password else _quoted(username)
        place = f"{login}@{place}"
    if port:
        place = f"{place}:{port}"
    query = _formatted_query(query) if isinstance(query, dict) else _written_part(query)
    if not place:
        url: str = urllib.parse.urlunsplit((scheme, place, path, query, fragment))
        return url
    if path and not path.startswith("/"):
        path = "/" + path
    url = f"{scheme}://{place}{path}" if scheme else f"//{place}{path}"
    if query:
        url = f"{url}?{query}"
    return f"{url}#{fragment}" if fragment else url


def _written_part(value: Any) -> str:
    return "" if value is None else str(value)


_UNRESERVED_FIELDS = re.compile(r"[A-Za-z0-9_.~ -]*+=[A-Za-z0-9_.~ -]*+(?:&[A-Za-z0-9_.~ -]*+=[A-Za-z0-9_.~ -]*+)*+")


def _formatted_query(query: dict[str, Any]) -> str:
    """Write as urllib.parse.urlencode() does, in a fraction of the time where nothing but blanks is to be encoded."""
    try:
        joined = "&".join(map("=".join, query.items()))
    except TypeError:  # a value is no text
        return urllib.parse.urlencode(query, doseq=True)
    if joined.count("=") == len(query) and _UNRESERVED_FIELDS.fullmatch(joined):
        return joined.replace(" ", "+")
    return urllib.parse.urlencode(query)


_PLAIN_URL = re.compile(
    r"([a-z][a-z0-9+.-]*+)://"
    r"(?:([!$&-.0-9;<=>A-Z^-~]*+)(?::([!$&-.0-;<=>A-Z^-~]*+)|)@|)"  # user name and password
    r"([a-z0-9._~-]*+)(?::([0-9]{1,4}+)|)"  # host and port; a longer port may be out of bounds
    r"(/[!$->@-\[\]-~]*+|)"  # path
    r"(?:\?((?:([!$'-*,-<>@-\[\]-~]++)=([!$%'-*,-<>-\[\]-~]*+)"  # query: a field
    r"(?:&([!$'-*,-<>@-\[\]-~]++)=([!$%'-*,-<>-\[\]-~]*+)|)(?=#|\Z)"  # and perhaps a second one
    r"|[!$-\[\]-~]*+))|)"  # or any
    r"(?:#([!#-\[\]-~]*+)|)"  # fragment
)
"""URLs whose parts are as they stand in the text, and the same in the quotes of JSON."""


@udf("apl_parse_url", [STRING], DYNAMIC, returns_json=True)
def parse_url(text: str) -> str:
    match = _PLAIN_URL.fullmatch(text)
    if match is None:
        return _parsed_url(text)
    scheme, username, password, host, port, path, query, name, value, other, second, fragment = match.groups("")
    if port[:1] == "0":
        port = str(int(port))
    fields = ""
    if name and name != other:
        fields = f'"{name}":"{value}","{other}":"{second}"' if other else f'"{name}":"{value}"'
        fields = fields.replace("%20", " ")
    if query and (not fields or "%" in fields):
        fields = to_json(_query(query))[1:-1]
    return (
        f'{{"scheme":"{scheme}","host":"{host}","port":"{port}","path":"{path}","username":"{username}",'
        f'"password":"{password}","query":{{{fields}}},"fragment":"{fragment}"}}'
    )


def _parsed_url(text: str) -> str:
    parts = urllib.parse.urlsplit(text)
    port = parts.port
    return to_json(
        {
            "scheme": parts.scheme,
            "host": parts.hostname or "",
            "port": "" if port is None else str(port),
            "path": parts.path,
            "username": urllib.parse.unquote(parts.username or ""),
            "password": urllib.parse.unquote(parts.password or ""),
            "query": _query(parts.query),
            "fragment": parts.fragment,
        }
    )


def _query(text: str) -> dict[str, Any]:
    text = text.removeprefix("?")
    if text.count("&") >= MAX_QUERY_FIELDS:
        raise ValueError(f"a query has at most {MAX_QUERY_FIELDS} fields")
    if "+" in text:
        text = text.replace("+", " ")
    if "%20" in text:
        text = text.replace("%20", " ")
    encoded = "%" in text
    if encoded:
        first, *others = text.split("%")
        try:
            text = first + "".join([TEXT_OF_HEX[each[:2]] + each[2:] for each in others])
            encoded = False
        except KeyError:
            pass  # something else than ASCII, or one of the characters that part the fields
    parts = text.split("&")
    if not encoded and text.count("=") == len(parts):
        try:
            simple: dict[str, Any] = dict([each.split("=") for each in parts])
        except ValueError:
            simple = {}  # a field has two of them
        if len(simple) == len(parts):
            return simple
    fields: dict[str, Any] = {}
    for part in parts:
        if not part:
            continue
        key, _, value = part.partition("=")
        if encoded:
            key, value = urllib.parse.unquote(key), urllib.parse.unquote(value)
        if key not in fields:
            fields[key] = value
        elif isinstance(fields[key], list):
            fields[key].append(value)
        else:
            fields[key] = [fields[key], value]
    return fields


@udf("apl_parse_urlquery", [STRING], DYNAMIC, columns=format_columns.parse_urlquery)
def parse_urlquery(text: str) -> dict[str, Any]:
    return _query(text)
