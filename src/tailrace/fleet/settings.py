"""The settings of a node of a fleet."""

from typing import Annotated, Literal

from msgspec import Meta

from tailrace.events.secrets import WithSecrets


class FleetSettings(WithSecrets, frozen=True):
    """What a server does in a fleet, and how others find it and know it."""

    role: Annotated[
        Literal["all", "ingest", "lake", "query"],
        Meta(
            description="What the server does: everything, alone; or, as a node of a fleet, take events in, keep the "
            "tables, or run queries. A fleet needs `fleet_secret`, `database_url`, `storage` and `log` in an object "
            "store, the same for all nodes."
        ),
    ] = "all"
    node: Annotated[
        str,
        Meta(
            pattern=r"^([a-z0-9-]{1,40})?$",
            description="Name of the node, another one for each; if empty, the first start makes one, which stays in "
            "the data directory.",
        ),
    ] = ""
    node_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s/?#]+)?$",
            description="Where other nodes reach the server, `http://host:port`; if empty, at `host`, or at the "
            "machine's name where that is every address, and `port`.",
        ),
    ] = ""
    lease_s: Annotated[
        float,
        Meta(
            ge=1,
            le=600,
            description="Time after which a node that is not heard of counts as gone: others take over what it had.",
        ),
    ] = 10.0
    drain_s: Annotated[
        float,
        Meta(
            ge=0,
            le=600,
            description="Time for which a node that is told to stop goes on answering, with 503 at `/readyz`, so that "
            "load balancers send nothing more.",
        ),
    ] = 5.0
    flight_port: Annotated[
        int,
        Meta(ge=0, le=65535, description="TCP port at which a lake node serves others its rows; 0 takes any free one."),
    ] = 0
    fleet_secret: Annotated[
        str,
        Meta(
            pattern=r"^([!-~]{16,})?$",
            description="Secret that the nodes of a fleet share, by which they know each other; never sent itself.",
            extra={"secret": "16 or more printable ASCII characters without spaces"},
        ),
    ] = ""
    fleet_tls_certificate: Annotated[
        str,
        Meta(
            description="PEM file of the node's certificate, with those of its issuers, for Arrow Flight between "
            "nodes, which is TLS then: all nodes of a fleet have one, and show it, or none has. It is read again when "
            "it changes."
        ),
    ] = ""
    fleet_tls_key: Annotated[
        str, Meta(description="PEM file of the certificate's key; if empty, it is in the file of the certificate.")
    ] = ""
    fleet_tls_ca: Annotated[
        str,
        Meta(
            description="PEM file of the issuers of the certificates of all nodes. Beside those that the system "
            "trusts, they may have issued `tls_certificate` of a node to which others forward requests."
        ),
    ] = ""
