"""Structs whose secrets are not shown where the struct is."""

from typing import Annotated, Any, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, fields


class WithSecrets(Struct, frozen=True):
    """A struct that shows no field whose `Meta` has `extra["secret"]`."""

    def __repr__(self) -> str:
        """Return what the struct is made by, without its secrets."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Return the fields that are no secrets, each with its value."""
        return [(field.name, getattr(self, field.name)) for field in fields(self) if not _is_secret(field)]


def _is_secret(field: FieldInfo) -> bool:
    marks = get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
    return any(isinstance(mark, Meta) and "secret" in (mark.extra or {}) for mark in marks)
