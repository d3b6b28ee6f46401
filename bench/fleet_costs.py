"""`python -m bench.fleet_costs`: what a fleet asks of its object store, and what that costs, by a simulation.

Requests with events come to the ingest nodes at random, for datasets of very different sizes. Nodes gather them and put
them as objects of the log; lake nodes ask for each writer's next object, read the ranges of their datasets, commit, and
merge files. Now and then a lake node stands still for longer than its lease, so that two have its datasets: its commits
are the conflicts, which the store refuses. Bytes are of events as sent. How many requests a commit and a merge make is
counted by tests/lake/test_object_lake.py. Nothing is measured here but the arithmetic; a seed gives the same again.
"""

import argparse
import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Sequence

from msgspec import Struct, structs
from rich.console import Console
from rich.table import Table

from tailrace.fleet.shards import shard_of
from tailrace.lake import LakeSettings
from tailrace.log import LogSettings
from tailrace.log.object_following import DISCOVER_S, POLL_S
from tailrace.log.object_format import END_BYTES

COMMIT_REQUESTS = {"HEAD": 4, "PUT": 2}
MERGE_REQUESTS = {"GET": 1, "HEAD": 5, "PUT": 3}  # beside one GET for each file that no cache has
READ_TOGETHER_BYTES = 1024 * 1024  # between two ranges of an object that one request reads, as obstore has it
PUT_S = 0.04  # a put takes on average
# List prices of S3 Standard in us-east-1: USD a request, and a GB of storage a month. DELETE costs nothing.
PRICES = {"PUT": 5e-6, "LIST": 5e-6, "GET": 0.4e-6, "HEAD": 0.4e-6}
STORAGE_GB_MONTH = 0.023
COMPRESSED = 0.1  # size of files as a share of events as sent
MB, GB = 10**6, 10**9
MONTH_S = 30 * 86_400


class FleetPlan(Struct, frozen=True, kw_only=True):
    """What is simulated."""

    ingest_nodes: int = 100
    lake_nodes: int = 8
    datasets: int = 1_000
    mb_per_s: float = 100.0  # of events, to all nodes
    request_bytes: float = 200_000.0  # on average
    group_ms: float = LogSettings().group_ms
    poll_s: float = POLL_S
    pause_every_s: float = 120.0  # between two pauses of lake nodes that outlast a lease
    seconds: float = 300.0


class FleetCosts(Struct, kw_only=True):
    """What the fleet did."""

    requests: Counter[str] = Counter()  # to the store, by method
    objects: int = 0  # of the log
    commits: int = 0
    merges: int = 0
    conflicts: int = 0
    answers_s: list[float] = []  # how long each request waited
    sent_bytes: float = 0.0


class _Writer(Struct):
    """An ingest node: what it gathers, and until when it puts."""

    waiting: list[tuple[float, int, float]] = []  # time, dataset, bytes
    waiting_bytes: float = 0.0
    busy_until_s: float = 0.0


class _Hot(Struct):
    """What of a dataset is in no file yet, and how many files of each size there are."""

    bytes: float = 0.0
    since_s: float = 0.0
    files: Counter[int] = Counter()  # by how often they were merged


def simulate(plan: FleetPlan, seed: int) -> FleetCosts:
    """Return what a fleet does in the time of a plan."""
    simulation = _Simulation(plan, seed)
    simulation.run()
    return simulation.costs


class _Simulation:
    def __init__(self, plan: FleetPlan, seed: int) -> None:
        self.costs = FleetCosts(requests=Counter(), answers_s=[])
        self._plan = plan
        self._random = random.Random(seed)
        self._log, self._lake = LogSettings(), LakeSettings()
        names = [f"dataset-{number}" for number in range(plan.datasets)]
        self._owners = [shard_of(name) % plan.lake_nodes for name in names]
        # As in most organisations, a few datasets have most of the events.
        self._weights = [1 / (number + 1) for number in range(plan.datasets)]
        self._writers = [_Writer(waiting=[]) for _ in range(plan.ingest_nodes)]
        self._hot: dict[int, _Hot] = defaultdict(lambda: _Hot(files=Counter()))
        self._due: list[tuple[float, int]] = []  # times at which groups are put, and the writers

    def run(self) -> None:
        plan = self._plan
        requests_per_s = plan.mb_per_s * MB / plan.request_bytes
        now_s, next_pause_s, next_commits_s = 0.0, plan.pause_every_s, 1.0
        while now_s < plan.seconds:
            now_s += self._random.expovariate(requests_per_s)
            self._put_due(now_s)
            while next_commits_s <= now_s:
                self._commit_old(next_commits_s)
                next_commits_s += 1.0
            if now_s >= next_pause_s:
                self._pause(self._random.randrange(plan.lake_nodes))
                next_pause_s += plan.pause_every_s
            self._receive(now_s)
        self._put_due(float("inf"))
        self._count_polls()

    def _receive(self, now_s: float) -> None:
        number = self._random.randrange(len(self._writers))
        writer = self._writers[number]
        size = self._random.expovariate(1 / self._plan.request_bytes)
        (dataset,) = self._random.choices(range(self._plan.datasets), self._weights)
        self.costs.sent_bytes += size
        if not writer.waiting:
            heapq.heappush(self._due, (max(now_s + self._plan.group_ms / 1000, writer.busy_until_s), number))
        writer.waiting.append((now_s, dataset, size))
        writer.waiting_bytes += size
        if writer.waiting_bytes >= self._log.group_bytes:
            self._put(number, max(now_s, writer.busy_until_s))

    def _put_due(self, now_s: float) -> None:
        while self._due and self._due[0][0] <= now_s:
            at_s, number = heapq.heappop(self._due)
            if self._writers[number].waiting and self._writers[number].waiting[0][0] <= at_s:
                self._put(number, at_s)

    def _put(self, number: int, at_s: float) -> None:
        """Put what a writer gathered as an object; lake nodes read it."""
        writer = self._writers[number]
        stored_s = at_s + self._random.gammavariate(4, PUT_S / 4)
        group, writer.waiting, writer.waiting_bytes = writer.waiting, [], 0.0
        writer.busy_until_s = stored_s
        self.costs.objects += 1
        self.costs.requests["PUT"] += 1
        self.costs.answers_s += [stored_s - received_s for received_s, _, _ in group]
        self._read(group)
        for _, dataset, size in group:
            hot = self._hot[dataset]
            hot.since_s = hot.since_s if hot.bytes else stored_s
            hot.bytes += size
            if hot.bytes >= self._lake.commit_bytes:
                self._commit(dataset)

    def _read(self, group: Sequence[tuple[float, int, float]]) -> None:
        """Count how lake nodes read an object: its end, and what of it each has the datasets of, if not in the end."""
        sizes: Counter[int] = Counter()
        for _, dataset, size in group:
            sizes[dataset] += round(size)
        total = sizes.total()
        self.costs.requests["GET"] += self._plan.lake_nodes
        if total <= END_BYTES:
            return
        ends: dict[int, float] = {}  # of what each lake node reads
        start = 0
        for dataset in sorted(sizes):
            owner = self._owners[dataset]
            if start - ends.get(owner, float("-inf")) > READ_TOGETHER_BYTES:
                self.costs.requests["GET"] += 1
            start += sizes[dataset]
            ends[owner] = start

    def _count_polls(self) -> None:
        """Count the questions for an object that is not there yet, and for new writers."""
        plan = self._plan
        polls = plan.lake_nodes * plan.seconds / plan.poll_s
        self.costs.requests["GET"] += round(polls * plan.ingest_nodes)
        self.costs.requests["LIST"] += round(plan.lake_nodes * plan.seconds / DISCOVER_S)

    def _commit_old(self, now_s: float) -> None:
        for dataset, hot in self._hot.items():
            if hot.bytes and now_s - hot.since_s >= self._lake.commit_age_s:
                self._commit(dataset)

    def _commit(self, dataset: int) -> None:
        hot = self._hot[dataset]
        hot.bytes = 0.0
        self.costs.commits += 1
        self.costs.requests.update(COMMIT_REQUESTS)
        hot.files[0] += 1
        level, most = 0, self._lake.maintenance.compact_files
        while hot.files[level] >= most:
            hot.files[level] -= most
            level += 1
            hot.files[level] += 1
            self.costs.merges += 1
            self.costs.requests.update(MERGE_REQUESTS)

    def _pause(self, node: int) -> None:
        """Have a lake node stand still for longer than its lease: what it has not committed, another commits first."""
        for dataset, hot in self._hot.items():
            if hot.bytes and self._owners[dataset] == node:
                self.costs.conflicts += 1
                self.costs.requests["PUT"] += 2  # its file, and the version that the store refuses
                self.costs.requests["GET"] += 1  # it reads the table again


def dollars(costs: FleetCosts, seconds: float) -> dict[str, float]:
    """Return what a month of the same costs in USD: requests by method, and storage of a month's files."""
    months = MONTH_S / seconds
    found = {method: count * PRICES[method] * months for method, count in sorted(costs.requests.items())}
    return {**found, "storage": costs.sent_bytes * COMPRESSED * months / GB * STORAGE_GB_MONTH}


def main() -> None:
    """Simulate the fleets that the command line asks for and print their figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet_costs", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=FleetPlan().seconds)
    options = parser.parse_args()
    plain = FleetPlan(seconds=options.seconds)
    plans = {
        "100 ingest nodes": plain,
        "groups of 500 ms": structs.replace(plain, group_ms=500),
        "polls every second": structs.replace(plain, poll_s=1.0),
        "20 ingest nodes": structs.replace(plain, ingest_nodes=20),
        "20, 500 ms, every second": structs.replace(plain, ingest_nodes=20, group_ms=500, poll_s=1.0),
        "10 MB a second": structs.replace(plain, mb_per_s=10.0),
    }
    table = Table(title=f"{plain.datasets} datasets, {plain.lake_nodes} lake nodes, {plain.mb_per_s:g} MB a second")
    names = (
        "fleet", "ms to an answer (p50, p99)", "objects/s", "commits/s", "merges/s", "conflicts",
        "PUT/GB", "GET/GB", "HEAD/GB", "USD a month", "USD/GB",
    )  # fmt: skip
    for name in names:
        table.add_column(name, justify="left" if name == "fleet" else "right")
    for name, plan in plans.items():
        costs = simulate(plan, options.seed)
        table.add_row(name, *_figures(costs, plan))
    Console().print(table)


def _figures(costs: FleetCosts, plan: FleetPlan) -> list[str]:
    answers_s = sorted(costs.answers_s)
    sent_gb = costs.sent_bytes / GB
    monthly = dollars(costs, plan.seconds)
    total = sum(monthly.values())
    parts = ", ".join(f"{name} {amount:,.0f}" for name, amount in monthly.items())
    return [
        ", ".join(f"{answers_s[int(len(answers_s) * share)] * 1000:.0f}" for share in (0.5, 0.99)),
        *(f"{count / plan.seconds:.1f}" for count in (costs.objects, costs.commits, costs.merges)),
        str(costs.conflicts),
        *(f"{costs.requests[method] / sent_gb:,.0f}" for method in ("PUT", "GET", "HEAD")),
        f"{total:,.0f} ({parts})",
        f"{total / (sent_gb * MONTH_S / plan.seconds):.4f}",
    ]


if __name__ == "__main__":
    main()
