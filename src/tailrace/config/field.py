"""What a setting is: its type, default, bounds and meaning, and how a value that someone gave is checked."""

import dataclasses
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from tailrace.config.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_names,
    parse_networks,
    parse_number,
    parse_size,
)

_KEY = "tailrace"


class Unit(StrEnum):
    """What a setting counts; it decides how its value is read and shown."""

    NONE = ""
    BYTES = "bytes"
    SECONDS = "seconds"
    EVENTS = "events"
    LEVELS = "levels"
    COLUMNS = "columns"
    SHARE = "share, 0 to 1"
    ROWS = "rows"
    VALUES = "values"
    THREADS = "threads"
    QUERIES = "queries"
    READERS = "readers"
    DATASETS = "datasets"
    FILES = "files"
    MONITORS = "monitors"
    NAMES = "names, separated by commas"
    NETWORKS = "addresses, separated by commas"


class Secret(Struct, frozen=True):
    """Marks a setting whose value is never printed."""

    accepts: str  # in words, what values it takes


class Parse(Struct, frozen=True):
    """A type whose values are read by a function from what people write; it raises ValueError."""

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

    @property
    def unit(self) -> Unit:
        """What it counts."""
        return next((mark for mark in self.marks if isinstance(mark, Unit)), Unit.NONE)

    @property
    def secret(self) -> Secret | None:
        """The mark of one whose value may not be printed, None for any other."""
        return next((mark for mark in self.marks if isinstance(mark, Secret)), None)

    def shown(self, value: object) -> str:
        """Return a value for people: sizes with units, secrets as `set`."""
        if self.secret is not None:
            return "set" if value else "not set"
        match self.unit, value:
            case Unit.BYTES, int():
                return format_size(value)
            case Unit.SECONDS, float():
                return format_duration(value)
            case ((Unit.NAMES | Unit.NETWORKS), tuple()):
                return ",".join(value) or "none"
            case Unit.NONE, bool():
                return str(value).lower()
        return str(value)

    @property
    def accepted(self) -> str:
        """In words, what values it takes."""
        show: Callable[[Any], str] = str
        if self.secret is not None:
            return self.secret.accepts
        if get_origin(self.type) is Literal:
            *others, last = map(str, get_args(self.type))
            return f"{', '.join(others)} or {last}"
        if self.type is bool:
            return "true or false"
        if self.unit is Unit.BYTES:
            words, show = "a size in bytes or such as 64MiB or 1 MB", format_size
        elif self.unit is Unit.SECONDS:
            words, show = "a time in seconds or such as 30s or 5m", format_duration
        elif self.unit is Unit.NAMES:
            return "names, in a text separated by commas"
        elif self.unit is Unit.NETWORKS:
            return "addresses such as 127.0.0.1 and networks such as 10.0.0.0/8, in a text separated by commas"
        elif self.type is int:
            words = "a whole number"
        elif self.type is float:
            words = "a number"
        else:
            may_be_empty = self.type is str and self.default == ""
            return "text" if may_be_empty else "text that is not empty"
        bounds = self.bounds
        limits = [
            word + " " + show(bound)
            for bound, word in ((bounds.ge, "at least"), (bounds.gt, "more than"), (bounds.le, "at most"))
            if bound is not None
        ]
        return ", ".join([words, " and ".join(limits)] if limits else [words])

    def checked(self, value: object) -> object:
        """Return the value as the setting has it, of what someone gave; raise ValueError."""
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


Bytes = Annotated[int, Parse(parse_size), Unit.BYTES]
Seconds = Annotated[float, Parse(parse_duration), Unit.SECONDS]
Networks = Annotated[tuple[str, ...], Parse(parse_networks), Unit.NETWORKS]
Names = Annotated[tuple[str, ...], Parse(parse_names), Unit.NAMES]


def settings_of(owner: type[Any]) -> dict[str, Setting]:
    """Return the settings that a dataclass declares, by name."""
    found = {}
    for field in dataclasses.fields(owner):
        if _KEY not in field.metadata:
            continue
        description, bounds = field.metadata[_KEY]
        is_marked = get_origin(field.type) is Annotated
        kind, *marks = get_args(field.type) if is_marked else (field.type,)
        found[field.name] = Setting(kind, field.default, description, bounds, tuple(marks))
    return found


def options_of(owner: type[Struct]) -> dict[str, Setting]:
    """Return the settings that a struct of options declares, by name: its fields, each `Annotated` with a `Meta`.

    The unit is that of the name: `_s` for seconds, `_bytes` for bytes. Raise TypeError for a field without a
    description or a default.
    """
    found = {}
    for field in msgspec.structs.fields(owner):
        kind, *marks = get_args(field.type) if get_origin(field.type) is Annotated else (field.type,)
        meta = next((mark for mark in marks if isinstance(mark, Meta)), Meta())
        if not meta.description or field.default is msgspec.NODEFAULT:
            raise TypeError(f"{owner.__name__}.{field.name} needs a default and a description")
        bounds = Bounds(meta.ge, meta.gt, meta.le, meta.min_length, meta.pattern)
        found[field.name] = Setting(kind, field.default, meta.description, bounds, _marks(field.name, kind))
    return found


def _marks(name: str, kind: Any) -> tuple[Any, ...]:
    """Return what the name and the type of an option say of how it is written."""
    if kind is float and name.endswith("_s"):
        return Parse(parse_duration), Unit.SECONDS
    if kind is int and name.endswith("_bytes"):
        return Parse(parse_size), Unit.BYTES
    if kind == tuple[str, ...]:
        return Parse(parse_names), Unit.NAMES
    if get_origin(kind) is Literal and all(isinstance(each, int) for each in get_args(kind)):
        return (Parse(parse_number),)
    return ()
