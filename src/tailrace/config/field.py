"""What a setting is: its type, default, bounds and meaning, and how a value that someone gave is checked."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Struct

_KEY = "tailrace"


class Parse(Struct, frozen=True):
    """Marks a type whose values are read by a function from what people write; it raises ValueError."""

    read: Callable[[object], object]


class Bounds(Struct, frozen=True):
    """Between what a value must lie; None for no bound."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    min_length: int | None = None  # characters of a text
    pattern: str | None = None  # that all of a text matches


class Setting(Struct, frozen=True):
    """One setting, without its name."""

    type: Any
    default: Any
    description: str
    bounds: Bounds
    marks: tuple[Any, ...]  # of its type: what it counts, whether it is secret

    def checked(self, value: object) -> object:
        """Return the value as the setting has it, of what someone gave; raises ValueError."""
        for mark in self.marks:
            if isinstance(mark, Parse):
                value = mark.read(value)
        if self.type is Path:
            if not isinstance(value, (str, Path)) or value == "":
                raise ValueError("not a path")
            return Path(value)
        if isinstance(value, bool) and self.type in (int, float):
            raise ValueError("not a number")  # which TOML tells from true and false
        # Text from a variable or a flag counts as what it says, be it a number or true.
        found = msgspec.convert(value, self.type, strict=False)
        self._check_bounds(found)
        return found

    def _check_bounds(self, value: Any) -> None:
        bounds = self.bounds
        if (
            (bounds.ge is not None and not value >= bounds.ge)
            or (bounds.gt is not None and not value > bounds.gt)
            or (bounds.le is not None and not value <= bounds.le)
            or (bounds.min_length is not None and len(value) < bounds.min_length)
            or (bounds.pattern is not None and not re.fullmatch(bounds.pattern, value))
        ):
            raise ValueError("outside its bounds")


def Field(  # noqa: N802  # it stands for a value, as dataclasses' own does, but says more
    *,
    default: Any,
    description: str,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    pattern: str | None = None,
    repr: bool = True,
) -> Any:
    """Declare a setting of a dataclass."""
    bounds = Bounds(ge, gt, le, min_length, pattern)
    return dataclasses.field(default=default, repr=repr, metadata={_KEY: (description, bounds)})


def settings_of(owner: type[Any]) -> dict[str, Setting]:
    """Return the settings that a dataclass declares, by name."""
    found = {}
    for field in dataclasses.fields(owner):
        description, bounds = field.metadata[_KEY]
        is_marked = get_origin(field.type) is Annotated
        kind, *marks = get_args(field.type) if is_marked else (field.type,)
        found[field.name] = Setting(kind, field.default, description, bounds, tuple(marks))
    return found
