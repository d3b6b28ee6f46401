"""What a node knows of datasets by what lake nodes told it, for events that need no more than that."""

from tailrace.events import TailraceError
from tailrace.ingest.worker_service import KnownDataset, PassedOn
from tailrace.lake import DatasetStore


class ToldDatasets:
    """The datasets of all lake nodes, as they were told last; nothing of it blocks."""

    def __init__(self, lake: DatasetStore) -> None:
        self._lake = lake

    def get(self, name: str) -> KnownDataset:
        """Return what is known of a dataset that accepts events. Raise PassedOn."""
        try:
            info = self._lake.get(name)
        except TailraceError as error:
            raise PassedOn from error
        return KnownDataset(info.created_ns, info.primary_key, info.organisation)

    def organisation(self, name: str) -> str:
        """Return the organisation of a dataset, "" for the first one. Raise PassedOn."""
        return self.get(name).organisation
