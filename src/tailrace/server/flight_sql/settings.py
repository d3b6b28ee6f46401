"""The settings of Flight SQL."""

from typing import Annotated

from msgspec import Meta, Struct


class FlightSqlSettings(Struct, frozen=True):
    """Where it is."""

    port: Annotated[
        int,
        Meta(ge=0, le=65535, description="TCP port to listen on for Arrow Flight SQL at `host`; 0 for none."),
    ] = 0
