"""`make fleet`: a whole fleet on this machine under load, whose nodes are killed, paused and stopped all the time.

An S3 server with a proxy before it that spoils requests, PostgreSQL, lake nodes, ingest nodes, a query node, and a Dask
scheduler with workers, each a process on loopback. Senders send numbered events to any node; what was acknowledged must
be there once and for all, what was not may be there or not, and nothing twice. A checker asks any node all the time,
half of the queries on the workers: each answer must have all that was acknowledged before it was asked, or be a refusal
in words. Exits with 1 where one of that does not hold.
"""

import argparse
import itertools
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct
from rich.console import Console

from bench.fleet_nodes import (
    FleetNode,
    FleetProcess,
    Surroundings,
    scheduler_process,
    surroundings,
    worker_process,
)
from tailrace.query.spread.ask import NOT_SPREAD

ROLES = ("lake", "lake", "ingest", "ingest", "query")
WORKERS = 2
DATASETS = [f"fleet-{number}" for number in range(8)]
BATCH = 20  # events of a request
SENDERS = 4
CHECKERS = 3
SENDER_PAUSE_S = 0.02
CHECK_EVERY_S = 1.0
REPORT_EVERY_S = 5.0
PAUSE_LEASES = 2.0  # how long a paused node stands still, in leases
DOWN_S = 1.0  # between the end of a node and its next start
SETTLE_S = 120.0  # in which the fleet must be whole again once nothing spoils it any more
REFUSED = frozenset({429, 503})
GIVEN_UP = 422  # a query that takes longer than it may


class Plan(Struct, frozen=True, kw_only=True):
    """What a run does to the fleet."""

    seconds: float = 60.0
    spoil_every_s: float = 5.0  # between two nodes that are killed, paused or stopped
    fail_one_in: int = 50  # requests to the object store; 0 for none
    lease_s: float = 3.0
    seed: int = 1


class Outcome(Struct):
    """What came of it. Written by several threads, under one lock."""

    acknowledged: dict[str, set[int]]  # numbers, by dataset
    refused: Counter[str]  # requests, by why
    unanswered: Counter[str]  # checks that were refused in words, or had no answer, by why
    spoiled: Counter[str]  # what was done to nodes
    checks: int = 0
    spread: int = 0  # checks whose query ran on the workers
    faults: list[str] = []  # what must not be

    @property
    def events(self) -> int:
        """How many events were acknowledged."""
        return sum(map(len, self.acknowledged.values()))


class FleetRun:
    """A fleet under load."""

    def __init__(
        self,
        plan: Plan,
        nodes: Sequence[FleetNode],
        helpers: Sequence[FleetProcess],
        around: Surroundings,
        console: Console,
    ) -> None:
        self._plan = plan
        self._nodes = nodes
        self._processes = [*nodes, *helpers]
        self._around = around
        self._console = console
        self._random = random.Random(plan.seed)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._numbers = 0
        self.outcome = Outcome(defaultdict(set), Counter(), Counter(), Counter(), faults=[])

    def run(self) -> Outcome:
        """Send, spoil and check for the time of the plan, then count everything; return what came of it."""
        for dataset in DATASETS:
            self._create(dataset)
        threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]
        threads += [threading.Thread(target=self._check, args=(number,)) for number in range(CHECKERS)]
        self._around.spoil(self._plan.fail_one_in)
        for thread in threads:
            thread.start()
        try:
            self._spoil()
        finally:
            self._ending.set()
            for thread in threads:
                thread.join()
            self._around.spoil(0)
        self._settle()
        self._count()
        return self.outcome

    def _create(self, dataset: str) -> None:
        """Create a dataset, which is refused while shards are handed over, and may be done nevertheless."""
        until_s = time.monotonic() + SETTLE_S
        while (answer := self._nodes[0].ask("POST", "/v2/datasets", {"name": dataset})).status_code in REFUSED:
            if time.monotonic() > until_s:
                break
            time.sleep(0.2)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()

    # Load

    def _send(self, seed: int) -> None:
        chosen = random.Random(f"{self._plan.seed} {seed}")
        while not self._ending.wait(SENDER_PAUSE_S):
            with self._lock:
                numbers = range(self._numbers, self._numbers + BATCH)
                self._numbers += BATCH
            dataset, node = chosen.choice(DATASETS), chosen.choice(self._nodes)
            events = [{"n": number, "text": f"event {number} of a fleet"} for number in numbers]
            try:
                answer = node.ask("POST", f"/v1/datasets/{dataset}/ingest", events)
            except httpx.TransportError as error:
                with self._lock:
                    self.outcome.refused[type(error).__name__] += 1
                continue
            with self._lock:
                if answer.status_code == 200:
                    self.outcome.acknowledged[dataset].update(numbers)
                else:
                    self.outcome.refused[str(answer.status_code)] += 1
                    if answer.status_code not in REFUSED:
                        self.outcome.faults.append(f"ingest was answered {answer.status_code}: {answer.text[:200]}")

    def _check(self, seed: int) -> None:
        chosen = random.Random(f"{self._plan.seed} check {seed}")
        while not self._ending.wait(CHECK_EVERY_S):
            dataset, node = chosen.choice(DATASETS), chosen.choice(self._nodes)
            with self._lock:
                before = set(self.outcome.acknowledged[dataset])
            found = chosen.choice((self._numbers_of, self._numbers_spread))(node, dataset)
            with self._lock:
                self.outcome.checks += 1
                if found is not None:
                    self._compare(node, dataset, before, found)

    def _numbers_of(self, node: FleetNode, dataset: str) -> list[int] | None:
        """Return the numbers that a node has of a dataset, None where it answers nothing, or a refusal in words."""
        answer = self._answer(node, "/tailrace/v1/sql", {"sql": f'SELECT n FROM "{dataset}"'})
        return None if answer is None else [row["n"] for row in answer["rows"]]

    def _numbers_spread(self, node: FleetNode, dataset: str) -> list[int] | None:
        """Return the same of a query that is spread over the workers, where there are any."""
        # One row, as an answer has 50,000 at most.
        apl = f"['{dataset}'] | where n >= 0 | summarize numbers = make_list(n, 1048576)"
        answer = self._answer(node, "/v1/datasets/_apl?format=tabular", {"apl": apl, "startTime": "now-1d"})
        if answer is None:
            return None
        if not any(message["msg"].startswith(NOT_SPREAD) for message in answer["status"]["messages"]):
            with self._lock:
                self.outcome.spread += 1
        (numbers,) = answer["tables"][0]["columns"]
        return list(itertools.chain.from_iterable(numbers))

    def _answer(self, node: FleetNode, path: str, query: dict[str, str]) -> dict[str, Any] | None:
        try:
            answer = node.ask("POST", path, query)
        except httpx.TransportError as error:
            with self._lock:
                self.outcome.unanswered[type(error).__name__] += 1
            return None
        said: dict[str, Any] = answer.json()
        if answer.status_code == 200:
            return said
        with self._lock:
            if said.get("message") and answer.status_code in REFUSED | {GIVEN_UP}:
                self.outcome.unanswered[re.sub(r"[a-z]+-\d+", "…", said["message"])] += 1
            else:
                self.outcome.faults.append(f"{node.name} answers a query {answer.status_code}: {answer.text[:200]}")
        return None

    def _compare(self, node: FleetNode, dataset: str, acknowledged: set[int], found: Sequence[int]) -> None:
        missing = acknowledged - set(found)
        doubled = [number for number, times in Counter(found).items() if times > 1]
        if missing:
            self.outcome.faults.append(f"{node.name}, {dataset}: {len(missing)} events are missing, as {min(missing)}")
        if doubled:
            self.outcome.faults.append(f"{node.name}, {dataset}: {len(doubled)} events are doubled, as {doubled[0]}")

    # What is done to nodes

    def _spoil(self) -> None:
        began_s = reported_s = time.monotonic()
        next_s = began_s + self._plan.spoil_every_s
        while (now_s := time.monotonic()) - began_s < self._plan.seconds:
            for process in self._processes:
                process.keep_up()
            if now_s >= next_s:
                self._spoil_one(self._random.choice(self._processes))
                next_s += self._plan.spoil_every_s
            if now_s - reported_s >= REPORT_EVERY_S:
                reported_s = now_s
                self._report(now_s - began_s)
            time.sleep(0.1)

    def _spoil_one(self, process: FleetProcess) -> None:
        way = self._random.choice(("killed", "killed", "paused", "stopped"))
        if not process.is_up:
            return
        if way == "paused":
            process.pause(PAUSE_LEASES * self._plan.lease_s)
        elif way == "stopped":
            process.terminate(DOWN_S)
        else:
            process.kill(DOWN_S)
        with self._lock:
            self.outcome.spoiled[f"{process.name.rpartition('-')[0]} {way}"] += 1

    def _report(self, since_s: float) -> None:
        with self._lock:
            done = self.outcome
            up = ", ".join(process.name for process in self._processes if process.is_up)
            self._console.print(
                f"{since_s:5.0f} s: {done.events:,} events acknowledged, {done.refused.total()} requests not; "
                f"{done.checks} checks, {done.spread} on workers, {done.unanswered.total()} refused; up: {up}"
            )
            for fault in done.faults:
                self._console.print(f"        WRONG: {fault}", style="bold red")

    # The end

    def _settle(self) -> None:
        """Wait until all nodes are up and ready."""
        until_s = time.monotonic() + SETTLE_S
        while not all(process.is_ready() for process in self._processes):
            for process in self._processes:
                process.keep_up()
            if time.monotonic() > until_s:
                away = ", ".join(process.name for process in self._processes if not process.is_ready())
                self.outcome.faults.append(f"{away}: not ready {SETTLE_S:g} s after the last trouble")
                return
            time.sleep(0.2)

    def _count(self) -> None:
        """Compare what each node has with what was acknowledged."""
        for node in self._nodes:
            for dataset in DATASETS:
                for found in (self._numbers_of(node, dataset), self._numbers_spread(node, dataset)):
                    if found is None:
                        self.outcome.faults.append(f"{node.name} does not answer in the end")
                    else:
                        self._compare(node, dataset, self.outcome.acknowledged[dataset], found)


def run(plan: Plan, directory: Path, console: Console) -> Outcome:
    """Run a fleet in a directory, and end it; return what came of it."""
    with (
        surroundings(directory) as around,
        _helpers(directory, around) as helpers,
        _nodes(plan, directory, around) as nodes,
    ):
        console.print(f"{len(nodes)} nodes are ready: " + ", ".join(f"{node.name} at {node.url}" for node in nodes))
        outcome = FleetRun(plan, nodes, helpers, around, console).run()
        for process in (*nodes, *helpers[::-1]):
            code = process.stop()
            if code:
                outcome.faults.append(f"{process.name} ended with code {code}")
    return outcome


@contextmanager
def _helpers(directory: Path, around: Surroundings) -> Iterator[list[FleetProcess]]:
    workers = [worker_process(f"worker-{number}", directory, around) for number in range(WORKERS)]
    helpers = [scheduler_process(directory, around), *workers]
    try:
        for helper in helpers:
            helper.start()
        yield helpers
    finally:
        for helper in helpers:
            helper.end()


@contextmanager
def _nodes(plan: Plan, directory: Path, around: Surroundings) -> Iterator[list[FleetNode]]:
    numbers: Counter[str] = Counter()
    nodes = []
    for role in ROLES:
        name = f"{role}-{numbers[role]}"
        numbers[role] += 1
        nodes.append(FleetNode(name, role, directory, around, lease_s=plan.lease_s))
    try:
        for node in nodes:
            node.start()
        for node in nodes:
            node.wait_ready(SETTLE_S)
        yield nodes
    finally:
        for node in nodes:
            node.end()


def main() -> int:
    """Run a fleet as the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="make fleet", description=__doc__)
    parser.add_argument("--seconds", type=float, default=Plan().seconds)
    parser.add_argument("--spoil-every", type=float, default=Plan().spoil_every_s, help="s (default: %(default)s)")
    parser.add_argument("--fail-one-in", type=int, default=Plan().fail_one_in, help="requests to S3; 0 for none")
    parser.add_argument("--seed", type=int, default=Plan().seed)
    parser.add_argument("--directory", type=Path, help="a new one, which is kept, with the nodes' messages")
    options = parser.parse_args()
    plan = Plan(
        seconds=options.seconds,
        spoil_every_s=options.spoil_every,
        fail_one_in=options.fail_one_in,
        seed=options.seed,
    )
    console = Console()
    with ExitStack() as files:
        if options.directory is None:
            directory = Path(files.enter_context(tempfile.TemporaryDirectory(prefix="tailrace-fleet-")))
        else:
            directory = options.directory
            directory.mkdir()
        outcome = run(plan, directory, console)
    console.print(
        f"{outcome.events:,} events acknowledged in {plan.seconds:g} s; {outcome.checks} checks, of which "
        f"{outcome.spread} on workers and {outcome.unanswered.total()} refused"
    )
    console.print("done to nodes: " + ", ".join(f"{what} {times}" for what, times in sorted(outcome.spoiled.items())))
    console.print("requests without success: " + str(dict(outcome.refused)))
    for why, times in outcome.unanswered.most_common():
        console.print(f"checks without an answer: {times} {why}")
    for fault in outcome.faults:
        console.print(f"WRONG: {fault}", style="bold red")
    console.print("nothing was lost, nothing doubled" if not outcome.faults else f"{len(outcome.faults)} faults")
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())
