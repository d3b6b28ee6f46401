"""Reference data of functions, read from files: the prices of language models, and where IP addresses are."""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from tailrace.query.functions.geo import AddressLookup, UnusableFile, open_database
from tailrace.query.functions.table import Price
from tailrace.query.settings import ReferenceFiles


class ReferenceData(Struct, frozen=True):
    """Both are optional: functions that need what is missing answer null."""

    model_prices: Mapping[str, Price] = {}  # by name of the model
    geo_database: AddressLookup | None = None  # of IP addresses


def read_reference_data(files: ReferenceFiles) -> ReferenceData:
    """Return what the files have, if any. Raise UnusableFile for a file that cannot be used."""
    return ReferenceData(
        model_prices=read_prices(Path(files.model_prices)) if files.model_prices else {},
        geo_database=open_database(Path(files.geo_database)) if files.geo_database else None,
    )


def read_prices(path: Path) -> dict[str, Price]:
    """Return prices in US dollars a million tokens, by model: `{"model": {"input": 2.5, "output": 10}}`.

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
