"""The settings of queries that are spread over several nodes."""

from typing import Annotated

from msgspec import Meta, Struct

from tailrace.events.sizes import GIB


class SpreadSettings(Struct, frozen=True):
    """Where large queries run, and which are large."""

    dask: Annotated[
        str,
        Meta(
            pattern=r"^((tcp|tls)://\S+:[0-9]+)?$",
            description="Dask scheduler, `tcp://host:8786`, on whose workers (`tailrace worker`) large queries run; "
            "needs `pip install tailrace[dask]`. If empty, every query runs on this node.",
        ),
    ] = ""
    spread_bytes: Annotated[
        int,
        Meta(ge=0, description="Size of the data files up to which a query runs on this node, although there is Dask."),
    ] = GIB
