"""What a node does while it is the leader: it answers what needs one memory, and runs the monitors."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

from tailrace.ingest.service import LogIngestService
from tailrace.monitors import Runner
from tailrace.server.asgi import Application

TIMEOUT_S = 30.0  # for the beginning and the end, which wait for the event loop

MakeRunner = Callable[[], Runner]
MakeApplication = Callable[[LogIngestService, Runner], Application]


class LeaderParts:
    """Made anew whenever the node becomes the leader: what it remembered as a former one may be wrong by now.

    `begin` and `end` are called in the thread of the leases.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        make_service: Callable[[], LogIngestService],
        make_runner: MakeRunner,
        make_application: MakeApplication,
        use: Callable[[Application | None], None],
    ) -> None:
        """Take what has the node answer with an application as a leader, or with none."""
        self._loop = loop
        self._make_service = make_service
        self._make_runner = make_runner
        self._make_application = make_application
        self._use = use
        self._service: LogIngestService | None = None
        self._runner: Runner | None = None
        self._runs: Counter[str] = Counter()  # of former times as a leader
        self._notifications: Counter[str] = Counter()

    def begin(self) -> None:
        """Begin to lead."""
        given_up = threading.Event()
        try:
            asyncio.run_coroutine_threadsafe(self._begin(given_up), self._loop).result(TIMEOUT_S)
        except TimeoutError:
            # Or it would lead once the lead is another node's.
            given_up.set()
            asyncio.run_coroutine_threadsafe(self.stop(), self._loop)
            raise

    def end(self) -> None:
        """Lead no more, and return once that is so."""
        asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(TIMEOUT_S)

    async def _begin(self, given_up: threading.Event) -> None:
        await self.stop()
        if given_up.is_set():
            return
        self._service = self._make_service()
        self._runner = self._make_runner()
        self._use(self._make_application(self._service, self._runner))
        self._service.open()
        self._runner.start()

    async def stop(self) -> None:
        """Lead no more; on the event loop."""
        self._use(None)
        service, runner = self._service, self._runner
        self._service = self._runner = None
        if service is not None:
            service.close()
        if runner is not None:
            await runner.stop()
            self._runs += runner.runs
            self._notifications += runner.notifications

    @property
    def runs(self) -> Counter[str]:
        """The runs of monitors since the start, by result."""
        return self._runs + (self._runner.runs if self._runner is not None else Counter())

    @property
    def notifications(self) -> Counter[str]:
        """The notifications since the start, by result."""
        return self._notifications + (self._runner.notifications if self._runner is not None else Counter())
