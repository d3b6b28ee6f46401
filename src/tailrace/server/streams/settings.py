"""The settings of all stream doors together: where they listen, how much of what comes in is in memory."""

from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.sizes import GIB, MIB


class StreamLimits(Struct, frozen=True):
    """Limits on connections and datagrams; what is refused for one of them names it."""

    host: Annotated[
        str, Meta(description="Address on which the doors for TCP, TLS and UDP listen; if empty, that of `host`.")
    ] = ""
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=100_000,
            description="Most connections of a door at a time; further ones are closed at once.",
            extra={"unit": "connections"},
        ),
    ] = 1000
    idle_timeout_s: Annotated[
        float,
        Meta(
            gt=0,
            le=86400,
            description="Time after which a connection is ended that sends nothing. One with a message that is not "
            "whole has body_timeout_s.",
        ),
    ] = 3600.0
    backlog_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            le=64 * GIB,
            description="Most bytes of all connections in memory that are not stored yet; beyond, no more is read.",
        ),
    ] = 256 * MIB
    datagram_backlog_bytes: Annotated[
        int,
        Meta(
            ge=64 * 1024,
            le=GIB,
            description="Most bytes of a door's datagrams that wait to be read; beyond, they are dropped and counted.",
        ),
    ] = 16 * MIB
    tls_certificate: Annotated[
        str, Meta(description="PEM file of the certificate, with those of its issuers, of the doors for TLS.")
    ] = ""
    tls_key: Annotated[
        str, Meta(description="PEM file of the certificate's key; if empty, it is in the file of the certificate.")
    ] = ""
    tls_client_ca: Annotated[
        str,
        Meta(
            description="PEM file of the issuers of the certificates that clients of the doors for TLS have to show; "
            "if empty, they need none."
        ),
    ] = ""
