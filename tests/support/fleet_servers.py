"""A fleet of real server processes on one S3 server and one database, for tests."""

import ssl
from typing import TYPE_CHECKING

from support.s3 import S3Server
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server

ROOT_TOKEN = "xapt-of-the-owner-of-the-fleet"
SECRET = "the-secret-of-the-fleet-of-a-test"


class ServerFleet:
    """Nodes by name, each a process; any may be stopped, killed and started again."""

    def __init__(
        self,
        make_server: "MakeServer",
        s3: S3Server,
        database_url: str,
        *options: str,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._make_server = make_server
        self._verify = verify
        self.url = s3.url()
        self._options = (
            f"--storage={self.url}/tables",
            f"--log={self.url}/log",
            "--log-group-ms=5",
            f"--database-url={database_url}",
            f"--fleet-secret={SECRET}",
            "--lease-s=2",
            "--drain-s=1",
            *options,
        )
        self.nodes: dict[str, Server] = {}

    def start(self, *options: str, **counts: int) -> None:
        """Start so many nodes of each role, with further options, and return once all are ready."""
        added = [self.node(role, number, *options) for role, count in counts.items() for number in range(count)]
        names = [f"{role}-{number}" for role, count in counts.items() for number in range(count)]
        self.nodes.update(zip(names, added, strict=True))
        for node in added:
            node.launch_unready()
        for node in added:
            wait_until(lambda node=node: node.client.get("/readyz").status_code == 200)  # type: ignore[misc]

    def create(self, dataset: str, by: str) -> None:
        """Make a dataset by a node, once no shard moves any more, as after the start."""
        client = self.nodes[by].client
        wait_until(lambda: client.post("/v2/datasets", json={"name": dataset}).status_code in (200, 409))

    def node(self, role: str, number: int, *options: str) -> "Server":
        """Return a node that is not started yet."""
        env = {"TAILRACE_ROOT_TOKEN": ROOT_TOKEN}
        node = self._make_server(f"--role={role}", f"--node={role}-{number}", *self._options, *options, env=env)
        node.verify = self._verify
        return node
