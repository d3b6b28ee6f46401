"""The settings of the server with those of its protocols: of each its options, and further host names."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tailrace.config import Schema
from tailrace.protocols.http import Protocol
from tailrace.protocols.registry import PROTOCOLS


def schema_of(protocols: Sequence[Protocol]) -> Schema:
    """Return the settings of a server with some protocols."""
    return Schema({protocol.name: _section(protocol) for protocol in protocols})


def _section(protocol: Protocol) -> type[Struct]:
    beside = ", beside the vendor's own" if protocol.hosts else ""
    about = f"Further host names whose requests are {protocol.title}'s{beside}."
    hosts = ("hosts", Annotated[tuple[str, ...], Meta(description=about)], ())
    return msgspec.defstruct(f"{protocol.title}Section", [hosts], bases=(protocol.options,), frozen=True)


SCHEMA = schema_of(PROTOCOLS)
