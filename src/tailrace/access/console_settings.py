"""The settings of the console."""

from typing import Annotated

from msgspec import Meta, Struct


class ConsoleSettings(Struct, frozen=True):
    """The console, and the sessions of its browsers."""

    enabled: Annotated[bool, Meta(description="Whether browsers are shown the console at `/`.")] = True
    url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[^\s?#]+)?$",
            description="Address at which browsers have the console, such as `https://events.example.com`, to which "
            "single sign-on comes back; if empty, the one that a browser asks. Give it where a proxy has the console "
            "under a path.",
        ),
    ] = ""
    session_s: Annotated[
        float,
        Meta(ge=60, le=366 * 86400, description="Time after which a browser has to sign in again."),
    ] = 7 * 86400.0
