"""The schema of the settings: their names, and the nested structs whose fields they are."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import FieldInfo, fields, replace

from tailrace.config.setting import Setting, annotation_of, setting_of

ENV_PREFIX = "TAILRACE_"

T = TypeVar("T", bound=Struct)


class Schema(Generic[T]):
    """Every setting of nested structs, by name, with its default.

    The name of a setting is that of its field, with the prefix of the struct that the field is in: the name of the
    struct and `_`, or `extra["prefix"]` of its `Meta`. A dictionary has structs by name.
    """

    def __init__(self, defaults: T, removed: Mapping[str, str] | None = None) -> None:
        """Take the defaults, and the removed settings with what to do instead."""
        self.defaults = defaults
        self.removed = removed or {}
        self.settings: dict[str, Setting] = {}
        self._places: dict[str, tuple[str, ...]] = {}  # the names of the structs that a setting is in, and its field
        self._add(defaults, "", ())

    def value(self, settings: T, name: str) -> object:
        """Return the value of the setting `name`."""
        value: Any = settings
        for step in self._places[name]:
            value = value[step] if isinstance(value, dict) else getattr(value, step)
        return value

    def build(self, values: Mapping[str, object]) -> T:
        """Return settings with these checked values, by name, and defaults for the others."""
        given: dict[tuple[str, ...], dict[str, object]] = {}
        for name, value in values.items():
            *structs, field = self._places[name]
            given.setdefault(tuple(structs), {})[field] = value
        return _changed(self.defaults, (), given)

    def _add(self, struct: Struct, prefix: str, place: tuple[str, ...]) -> None:
        for field in fields(struct):
            value, here = getattr(struct, field.name), (*place, field.name)
            if isinstance(value, Struct):
                self._add(value, _prefix(field), here)
            elif isinstance(value, dict):
                for name, inner in value.items():
                    self._add(inner, f"{name}_", (*here, name))
            else:
                name = prefix + field.encode_name
                if name in self.settings:
                    raise ValueError(f"two settings are called {name}")
                self.settings[name] = setting_of(name, field.type, value)
                self._places[name] = here


def _prefix(field: FieldInfo) -> str:
    _, meta = annotation_of(field.type)
    prefix: str = (meta.extra or {}).get("prefix", f"{field.name}_")
    return prefix


def _changed(struct: T, place: tuple[str, ...], given: Mapping[tuple[str, ...], Mapping[str, object]]) -> T:
    """Return a struct with new values for its fields and for those of the structs in it."""
    changes: dict[str, Any] = dict(given.get(place, {}))
    for name in struct.__struct_fields__:
        value, here = getattr(struct, name), (*place, name)
        if isinstance(value, Struct):
            changes[name] = _changed(value, here, given)
        elif isinstance(value, dict):
            changes[name] = {key: _changed(inner, (*here, key), given) for key, inner in value.items()}
    return replace(struct, **changes)


def environment_variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return ENV_PREFIX + name.upper()


def flag(name: str) -> str:
    """Return the command line flag of the setting `name`."""
    return "--" + name.replace("_", "-")
