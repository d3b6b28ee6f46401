"""A setting: its type, default, bounds and description, and the check of a given value."""

import re
from collections.abc import Callable
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

# What a setting counts, where that decides how its value is read and shown.
BYTES = "bytes"
SECONDS = "seconds"
NAMES = "names, separated by commas"
NETWORKS = "addresses, separated by commas"
_READERS: dict[str, Callable[[object], object]] = {
    BYTES: parse_size,
    SECONDS: parse_duration,
    NAMES: parse_names,
    NETWORKS: parse_networks,
}


class Setting(Struct, frozen=True):
    """One setting, without its name."""

    type: Any
    default: Any
    meta: Meta  # its description and bounds
    unit: str  # what it counts, empty for nothing
    secret: str = ""  # of a setting that is never printed: its possible values, in words

    @property
    def description(self) -> str:
        """Its description."""
        return self.meta.description or ""

    def shown(self, value: object) -> str:
        """Return a value for people: sizes with units, secrets as `set`."""
        if self.secret:
            return "set" if value else "not set"
        if self.unit == BYTES and isinstance(value, int):
            return format_size(value)
        if self.unit == SECONDS and isinstance(value, float):
            return format_duration(value)
        if isinstance(value, tuple):
            return ",".join(value) or "none"
        return str(value).lower() if isinstance(value, bool) else str(value)

    @property
    def accepted(self) -> str:
        """Its possible values, in words."""
        show: Callable[[Any], str] = str
        if self.secret:
            return self.secret
        if get_origin(self.type) is Literal:
            *others, last = map(str, get_args(self.type))
            return f"{', '.join(others)} or {last}"
        if self.type is bool:
            return "true or false"
        if self.unit == BYTES:
            words, show = "a size in bytes or such as 64MiB or 1 MB", format_size
        elif self.unit == SECONDS:
            words, show = "a time in seconds or such as 30s or 5m", format_duration
        elif self.unit == NAMES:
            return "names, in a text separated by commas"
        elif self.unit == NETWORKS:
            return "addresses such as 127.0.0.1 and networks such as 10.0.0.0/8, in a text separated by commas"
        elif self.type is int:
            words = "a whole number"
        elif self.type is float:
            words = "a number"
        else:
            may_be_empty = self.type is str and self.default == ""
            return "text" if may_be_empty else "text that is not empty"
        bounds = self.meta
        limits = [
            word + " " + show(bound)
            for bound, word in ((bounds.ge, "at least"), (bounds.gt, "more than"), (bounds.le, "at most"))
            if bound is not None
        ]
        return ", ".join([words, " and ".join(limits)] if limits else [words])

    def checked(self, value: object) -> object:
        """Return a given value as the type of the setting; raise ValueError."""
        if self.unit in _READERS:
            value = _READERS[self.unit](value)
        elif get_origin(self.type) is Literal and all(isinstance(each, int) for each in get_args(self.type)):
            value = parse_number(value)
        if self.type is Path:
            if not isinstance(value, (str, Path)) or value == "":
                raise ValueError("not a path")
            return Path(value)
        if isinstance(value, bool) and self.type in (int, float):
            raise ValueError("not a number")  # TOML distinguishes numbers from true and false
        # Not strict: variables and flags are text, such as "5" or "true".
        converted = msgspec.convert(value, self.type, strict=False)
        self._check_bounds(converted)
        return converted

    def _check_bounds(self, value: Any) -> None:
        bounds = self.meta
        if (
            (bounds.ge is not None and not value >= bounds.ge)
            or (bounds.gt is not None and not value > bounds.gt)
            or (bounds.le is not None and not value <= bounds.le)
            or (bounds.min_length is not None and len(value) < bounds.min_length)
            or (bounds.pattern is not None and not re.fullmatch(bounds.pattern, value))
        ):
            raise ValueError("outside its bounds")


def setting_of(name: str, annotation: Any, default: object) -> Setting:
    """Return the setting that a field of a struct declares, by its `Annotated` type with a `Meta`, and its default.

    The unit is that of the name, `_s` for seconds and `_bytes` for bytes, or `extra["unit"]` of the `Meta`;
    `extra["secret"]` says in words what a secret is. Raise TypeError for a field without a description.
    """
    kind, meta = annotation_of(annotation)
    if not meta.description:
        raise TypeError(f"{name} needs a description")
    extra = meta.extra or {}
    return Setting(kind, default, meta, extra.get("unit") or _unit(name, kind), extra.get("secret", ""))


def annotation_of(annotation: Any) -> tuple[Any, Meta]:
    """Return the annotated type and its `Meta`."""
    if get_origin(annotation) is not Annotated:
        return annotation, Meta()
    kind, *marks = get_args(annotation)
    return kind, next((mark for mark in marks if isinstance(mark, Meta)), Meta())


def _unit(name: str, kind: Any) -> str:
    if kind is float and name.endswith("_s"):
        return SECONDS
    if kind is int and name.endswith(("_bytes", "_bytes_per_s")):
        return BYTES
    return NAMES if kind == tuple[str, ...] else ""
