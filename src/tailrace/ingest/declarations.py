"""The fields that protocols declare: each of a dataset once, before the first event that has them."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from tailrace.events.declarations import DeclaredFields
from tailrace.lake import DatasetStore

AddMapFields = Callable[[str, Sequence[str]], None]
"""Adds to the map fields of a dataset those of these names that it does not have."""

Run = Callable[[Callable[[], None]], Awaitable[None]]
"""Runs a function that blocks beside the event loop."""


class Declarations:
    """What is declared of the fields of a lake's datasets."""

    def __init__(self, lake: DatasetStore, add_map_fields: AddMapFields, run: Run) -> None:
        self._lake = lake
        self._add_map_fields = add_map_fields
        self._run = run

    async def declare(self, dataset: str, fields: DeclaredFields) -> None:
        """Declare fields of a dataset, those that were not declared before, and return once that is durable.

        Raise DatasetNotFound, DatasetUnavailable, DiskFull, Overloaded, StorageUnavailable.
        """
        if not fields.keys() <= self._lake.get(dataset).declared.keys():
            await self._run(partial(self._declare, dataset, fields))

    def _declare(self, dataset: str, fields: DeclaredFields) -> None:
        before = self._lake.get(dataset).declared
        maps = [name for name, kind in fields.items() if kind == "map" and name not in before]
        if maps:
            self._add_map_fields(dataset, maps)
        self._lake.declare(dataset, fields)  # last, as it is what says that this was done
