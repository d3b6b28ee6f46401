"""The fields of Axiom for what OTLP's messages share: attributes, resources, scopes, times; each as text of JSON.

Attributes of the semantic conventions are fields of their own under `attributes` and `resource`, the others are in the
map fields `attributes.custom` and `resource.custom`; some of a resource's are at the top (Axiom's pages "Semantic
conventions", "Explore traces" and the guides of the languages). What Axiom has no name for has OTLP's.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from tailrace.events.timestamps import MAX_NS
from tailrace.native import otlp as otlp_native
from tailrace.parsing.otlp_events import json_number
from tailrace.parsing.otlp_wire import JSON, PROTOBUF, Memo, OtlpWire
from tailrace.parsing.semantic_conventions import CONVENTIONS

TOP_LEVEL = frozenset(
    {"service.name", "service.version", "telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version"}
)  # of a resource
DATASET = "dataset"  # the attribute of a resource that names the dataset of what is its
# What the names are that are not just any.
KINDS_OF_NAMES = {
    **dict.fromkeys(CONVENTIONS, otlp_native.CONVENTION),
    **{name: otlp_native.OF_RESOURCE | otlp_native.CONVENTION * (name in CONVENTIONS) for name in TOP_LEVEL},
    DATASET: otlp_native.DATASET,
}
NS_PER_US = 1000

_encode = msgspec.json.Encoder().encode


class ResourceFields(Struct, frozen=True):
    """A resource: its fields in each of its events, and the dataset that it names."""

    fields: str  # each with a comma before it
    dataset: str


class OtlpFields(Struct, frozen=True, eq=False):
    """What makes fields of the messages of one encoding; what repeats is made once."""

    wire: OtlpWire
    attributes: Memo[bytes, str]  # of an event; custom ones have no comma before them
    members: Memo[bytes, str]  # of attributes that are an object of their own
    resources: Memo[bytes, ResourceFields]
    scopes: Memo[bytes, str]
    statuses: Memo[bytes, str]  # of spans

    def attributes_of(self, message: Any) -> str:
        """Return the fields of an event for its attributes."""
        parts = list(map(self.attributes.__getitem__, self.wire.raws(message.attributes)))
        return _with_custom(parts, "attributes")

    def object_of(self, attributes: Any) -> str:
        """Return attributes as one object."""
        return "{" + ",".join(map(self.members.__getitem__, self.wire.raws(attributes))) + "}"

    def optional_object(self, name: str, attributes: Any) -> str:
        """Return the field of a name for attributes as one object, nothing where there are none."""
        return f',"{name}":{self.object_of(attributes)}' if attributes else ""

    def ids(self, message: Any, *names: str) -> str:
        """Return the fields for the ids of a message that are set."""
        ids = ((name, self.wire.id(getattr(message, name))) for name in names)
        return "".join([f',"{name}":"{value}"' for name, value in ids if value])


def _with_custom(parts: list[str], prefix: str) -> str:
    custom = [part for part in parts if part[0] != ","]
    if not custom:
        return "".join(parts)
    own = "".join([part for part in parts if part[0] == ","])
    return f'{own},"{prefix}.custom":{{{",".join(custom)}}}'


def text_of(value: Any) -> str:
    """Return a value as JSON. Raise one of UNREADABLE for text that UTF-8 cannot have."""
    return _encode(value).decode()


texts: Memo[str, str] = Memo(text_of)  # texts that repeat, as JSON


def optional_text(name: str, value: str | None) -> str:
    """Return the field of a name, nothing for an empty value."""
    return f',"{name}":{texts[value]}' if value else ""


def optional_number(name: str, value: int | None) -> str:
    """Return the field of a name, nothing for 0."""
    return f',"{name}":{value}' if value else ""


def number_text(value: float) -> str:
    """Return a number as JSON, its name as text where JSON has none for it."""
    return text_of(json_number(value)) if isinstance(value, float) else str(value)


def time_fields(name: str, time_ns: int) -> str:
    """Return the time of an event, which is kept in µs; what is finer or later than that is kept under its own name."""
    if not time_ns:
        return ""
    if time_ns > MAX_NS:
        return f',"{name}":{time_ns}'
    return f',"_time":{time_ns},"{name}":{time_ns}' if time_ns % NS_PER_US else f',"_time":{time_ns}'


def enumeration(names: Iterable[str], prefix: str) -> dict[int | str, str]:
    """Return the texts of JSON for the values of an enumeration: by number, and by its names in JSON."""
    known: dict[int | str, str] = {}
    for number, name in enumerate(names):
        known[number] = known[str(number)] = known[prefix + name.upper()] = f'"{name}"'
    return known


def enumerated(known: dict[int | str, str], value: int | str | None) -> str:
    """Return the text of JSON for a value of an enumeration; a number that has no name stays one."""
    return known.get(value or 0) or text_of(value)


def _attribute(wire: OtlpWire, raw: bytes) -> str:
    name, value = wire.key_value(raw)
    if name in CONVENTIONS:
        return f',"attributes.{name}":{text_of(value)}'
    return f"{text_of(name)}:{text_of(value)}"


def _member(wire: OtlpWire, raw: bytes) -> str:
    name, value = wire.key_value(raw)
    return f"{text_of(name)}:{text_of(value)}"


def _resource(wire: OtlpWire, members: Memo[bytes, str], raw: bytes) -> ResourceFields:
    if not raw:
        return ResourceFields("", "")
    message = wire.read["Resource"](raw)
    parts: list[str] = []
    dataset = ""
    for sent in wire.raws(message.attributes):
        name, value = wire.key_value(sent)
        if name in TOP_LEVEL:
            parts.append(f',"{name}":{text_of(value)}')
        elif name in CONVENTIONS:
            parts.append(f',"resource.{name}":{text_of(value)}')
        else:
            parts.append(members[sent])
            dataset = value if name == DATASET and isinstance(value, str) else dataset
    fields = _with_custom(parts, "resource")
    fields += optional_number("resource.dropped_attributes_count", message.dropped_attributes_count)
    entities = ",".join([_entity(wire, each) for each in wire.raws(message.entity_refs)])
    return ResourceFields(fields + (f',"resource.entity_refs":[{entities}]' if entities else ""), dataset)


def _entity(wire: OtlpWire, raw: bytes) -> str:
    message = wire.read["EntityRef"](raw)
    entity = {
        "schema_url": message.schema_url,
        "type": message.type,
        "id_keys": list(message.id_keys or ()),
        "description_keys": list(message.description_keys or ()),
    }
    return text_of({name: value for name, value in entity.items() if value})


def _scope(wire: OtlpWire, members: Memo[bytes, str], raw: bytes) -> str:
    if not raw:
        return ""
    message = wire.read["InstrumentationScope"](raw)
    fields = optional_text("scope.name", message.name) + optional_text("scope.version", message.version)
    if message.attributes:
        fields += f',"scope.attributes":{{{",".join(map(members.__getitem__, wire.raws(message.attributes)))}}}'
    return fields + optional_number("scope.dropped_attributes_count", message.dropped_attributes_count)


_OK, _ERROR = 1, 2
_STATUSES: dict[int | str | None, int] = {"1": 1, "2": 2, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2}
_STATUS_NAMES = {0: "", _OK: ',"status.code":"OK"', _ERROR: ',"status.code":"ERROR"'}


def _status(wire: OtlpWire, raw: bytes) -> str:
    """Return the fields for the status of a span; one that is not set has no code, as on Axiom's page."""
    if not raw:
        return ',"error":false'
    message = wire.read["Status"](raw)
    sent = message.code or 0
    code = _STATUSES.get(sent, sent)
    name = _STATUS_NAMES.get(code) if isinstance(code, int) else None
    failed = "true" if code == _ERROR else "false"
    fields = f',"error":{failed}' + (f',"status.code":{text_of(code)}' if name is None else name)
    return fields + optional_text("status.message", message.message)


def _fields(wire: OtlpWire) -> OtlpFields:
    members: Memo[bytes, str] = Memo(partial(_member, wire))
    make: Callable[[bytes], ResourceFields] = partial(_resource, wire, members)
    return OtlpFields(
        wire=wire,
        attributes=Memo(partial(_attribute, wire)),
        members=members,
        resources=Memo(make),
        scopes=Memo(partial(_scope, wire, members)),
        statuses=Memo(partial(_status, wire)),
    )


PROTOBUF_FIELDS = _fields(PROTOBUF)
JSON_FIELDS = _fields(JSON)
