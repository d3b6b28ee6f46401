"""Lake nodes in this process, each with a lake of its own, and who holds which dataset, as a test says."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.lakes import NEVER
from tailrace.fleet.flight.credentials import Credentials, Peer
from tailrace.fleet.flight.remote_lake import OwnerlessReader, RemoteLake
from tailrace.fleet.flight.server import LakeServer
from tailrace.lake import Lake, LakeSettings, LocalCatalog

SECRET = "a secret of sixteen or more"
CREDENTIALS = Credentials(SECRET)
HOST = "127.0.0.1"
CACHE_BYTES = 64 * 1024 * 1024


class LakeNode:
    """A lake in a directory, served."""

    def __init__(
        self,
        directory: Path,
        name: str = "lake-1",
        credentials: Credentials = CREDENTIALS,
        settings: LakeSettings = NEVER,
        port: int = 0,
    ) -> None:
        self.lake = Lake.open(directory, settings)
        self.given_away: set[str] = set()
        self.is_complete = True
        self.server = LakeServer(
            self.lake,
            node=name,
            host=HOST,
            port=port,
            credentials=credentials,
            owns=self.owns,
            shards=lambda: None if self.is_complete else frozenset(),
        )
        self.peer = Peer(name, f"{credentials.scheme}://{HOST}:{self.server.port}")

    def owns(self, name: str) -> bool:
        return name not in self.given_away

    def close(self) -> None:
        self.server.close()
        self.lake.close(commit=False)


class StatedOwners:
    """Who holds which dataset: the first node, but for those of `of`."""

    def __init__(self, *peers: Peer) -> None:
        self.all = list(peers)
        self.of: dict[str, Peer | None] = {}
        self.own: set[str] = set()

    def owns(self, dataset: str) -> bool:
        return dataset in self.own

    def owner(self, dataset: str) -> Peer | None:
        return self.of.get(dataset, self.all[0] if self.all else None)

    def peers(self) -> Sequence[Peer]:
        return self.all


@contextmanager
def remote_lake(
    owners: StatedOwners,
    directory: Path,
    *,
    credentials: Credentials = CREDENTIALS,
    own: LakeNode | None = None,
    ownerless: OwnerlessReader | None = None,
    cache_bytes: int = CACHE_BYTES,
    timeout_s: float = 5.0,
) -> Iterator[RemoteLake]:
    """Yield the lake of all nodes, whose files are in a directory, once it has heard of all."""
    lake = RemoteLake(
        owners,
        credentials,
        LocalCatalog(directory),
        own=None if own is None else own.lake,
        changes=None if own is None else own.server.changes,
        feeds=None if own is None else own.server.feeds,
        ownerless=ownerless,
        cache_bytes=cache_bytes,
    )
    lake.start(timeout_s)
    try:
        yield lake
    finally:
        lake.close()
