"""A notifier: a destination of notifications, with the properties of its kind."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from tailrace.events import BadRequest
from tailrace.monitors import template
from tailrace.monitors.members import flag, known_members, text, texts, time

MAX_NAME_LENGTH = 1_000  # characters
MAX_URL_LENGTH = 8_192  # characters
MAX_TEXT_LENGTH = 65_536  # characters of a template, a key, a header's value
MAX_EMAILS = 100
MAX_HEADERS = 100

# Members of each kind's properties as Axiom's document and its clients have them; those with a star are required.
KINDS: Mapping[str, tuple[str, ...]] = {
    "slack": ("slackUrl*",),
    "email": ("emails*",),
    "discord": ("discordChannel*", "discordToken*"),
    "discordWebhook": ("discordWebhookUrl*",),
    "opsgenie": ("apiKey*", "isEU"),
    "pagerduty": ("routingKey*", "token"),
    "webhook": ("url*",),
    "microsoftTeams": ("microsoftTeamsUrl*",),
    "customWebhook": ("url*", "headers", "body", "secretHeaders"),
}
_KNOWN = {name.lower(): name for name in ("name", "properties", "disabledUntil", "type", "id", "createdAt",
                 "createdBy", "updatedAt", "labelIds")}  # fmt: skip
_URLS = frozenset({"slackUrl", "discordWebhookUrl", "url", "microsoftTeamsUrl"})
_EMAIL = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These say where a request goes and where it ends, which only the HTTP client may.
_REFUSED_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "keep-alive"}
)


class Notifier(Struct, frozen=True, kw_only=True):
    """A notifier. `properties` are those of its kind, under their documented names."""

    name: str
    kind: str
    properties: dict[str, Any]
    disabled_until: datetime | None = None  # UTC


def read_notifier(given: Mapping[str, Any]) -> Notifier:
    """Return the notifier of a request's body, names in any letter case (Axiom's Go client capitalises some).

    Raise BadRequest for an invalid member, saying what is valid.
    """
    members = known_members(given, _KNOWN)
    name = text(members, "name", MAX_NAME_LENGTH)
    if not name.strip():
        raise BadRequest("a notifier has a name")
    properties = members.get("properties")
    if not isinstance(properties, Mapping):
        raise BadRequest(f"a notifier has properties, an object with one of {', '.join(KINDS)}")
    kinds = known_members(properties, {kind.lower(): kind for kind in KINDS})
    if len(kinds) != 1:
        given_kinds = ", ".join(kinds) or ", ".join(properties) or "none"
        raise BadRequest(f"the properties of a notifier are one of {', '.join(KINDS)}, but these are {given_kinds}")
    [(kind, content)] = kinds.items()
    if not isinstance(content, Mapping):
        raise BadRequest(f"properties.{kind} is {content!r:.100}, but it is an object")
    return Notifier(
        name=name,
        kind=kind,
        properties=_properties(kind, content),
        disabled_until=time(members, "disabledUntil"),
    )


def _properties(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    names = [name.removesuffix("*") for name in KINDS[kind]]
    known = {name.lower(): name for name in names}
    unknown = [key for key in given if key.lower() not in known]
    if unknown:
        raise BadRequest(f"unknown member {unknown[0]!r} of properties.{kind}; it has {', '.join(names)}")
    members = known_members(given, known)
    missing = [name[:-1] for name in KINDS[kind] if name.endswith("*") and not members.get(name[:-1])]
    if missing:
        raise BadRequest(f"properties.{kind} lacks {missing[0]}")
    return {name: _checked(name, members) for name in names if name in members}


def _checked(name: str, members: Mapping[str, Any]) -> Any:
    if name in _URLS:
        return _url(name, members)
    if name == "emails":
        return _emails(members)
    if name == "isEU":
        return flag(members, name)
    if name in ("headers", "secretHeaders"):
        return _headers(name, members[name])
    value = text(members, name, MAX_TEXT_LENGTH, lines=name == "body")
    if name == "body":
        template.parse(value)
    return value


def _url(name: str, members: Mapping[str, Any]) -> str:
    value = text(members, name, MAX_URL_LENGTH)
    try:
        parts = urlsplit(value)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_valid = False
    if not is_valid or any(each.isspace() or ord(each) < 32 for each in value):
        raise BadRequest(f"{name} is {value[:200]!r}, but it is a URL that begins with https:// or http://")
    return value


def _emails(members: Mapping[str, Any]) -> list[str]:
    addresses = texts(members, "emails", MAX_EMAILS)
    for each in addresses:
        if not _EMAIL.fullmatch(each) or len(each) > 320 or any(ord(character) < 32 for character in each):
            raise BadRequest(f"emails has {each[:200]!r}, which is no address such as someone@example.com")
    return list(addresses)


def _headers(name: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > MAX_HEADERS:
        raise BadRequest(f"{name} is {value!r:.100}, but it is an object of at most {MAX_HEADERS} names and values")
    for header, each in value.items():
        if not _HEADER.fullmatch(header):
            raise BadRequest(f"{name} has {header[:100]!r}, which is no name of a header")
        if header.lower() in _REFUSED_HEADERS:
            raise BadRequest(f"{name} has {header}, which only the server may set")
        if not isinstance(each, str) or len(each) > MAX_TEXT_LENGTH or not _is_header_value(each):
            raise BadRequest(f"{name}: the value of {header} is not a text that a header can have")
    return dict(value)


def _is_header_value(value: str) -> bool:
    return value == value.strip() and all(each == "\t" or (31 < ord(each) < 256 and ord(each) != 127) for each in value)
