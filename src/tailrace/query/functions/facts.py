"""What functions know of the world: the prices of language models, and where addresses are. Read from files."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from tailrace.query.functions.geo import Lookup, UnusableFile, open_database
from tailrace.query.functions.table import Price


class Facts(Struct, frozen=True):
    """Both are optional: functions that need what is missing answer null."""

    prices: Mapping[str, Price] = {}  # of language models, by name
    places: Lookup | None = None  # of IP addresses


def read_facts(prices: str = "", places: str = "") -> Facts:
    """Return the facts of the files at these paths, if any. Raise UnusableFile for a file that cannot be used."""
    return Facts(
        prices=read_prices(Path(prices)) if prices else {},
        places=open_database(Path(places)) if places else None,
    )


def read_prices(path: Path) -> dict[str, Price]:
    """Prices in US dollars a million tokens, by model: `{"model": {"input": 2.5, "output": 10}}`.

    A file whose name ends in `.json` is JSON, any other TOML. Raise UnusableFile for one that cannot be used.
    """
    decode: Callable[..., dict[str, Price]] = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
    try:
        prices = decode(path.read_bytes(), type=dict[str, Price])
    except OSError as error:
        raise UnusableFile(f"the prices in {path} cannot be read: {error.strerror}") from error
    except (msgspec.MsgspecError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnusableFile(f"{path} has no prices of models, each with input and output: {error}") from error
    return prices
