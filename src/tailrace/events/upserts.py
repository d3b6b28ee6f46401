"""Changes of the state that an id has in a dataset with a primary key, and how they are merged into it."""

from collections.abc import Callable

from msgspec import Raw, Struct

MAX_STATE_BYTES = 1024 * 1024  # of the paths and values of a state, and of a change of one
MAX_STATE_FIELDS = 10_000  # values in one


class Upsert(Struct, frozen=True):
    """A change of the state of an id: paths (keys joined by dots) with the JSON texts of what stands there."""

    index: int  # in what the client sent
    id: str
    members: dict[str, Raw]


Merge = Callable[[dict[str, Raw], dict[str, Raw]], dict[str, Raw]]
"""The state after a change, of the state before and the change."""
