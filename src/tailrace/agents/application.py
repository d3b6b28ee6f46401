"""The ASGI application of the Model Context Protocol, over streamable HTTP without sessions."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from tailrace.events import TailraceError

if TYPE_CHECKING:
    import httpx

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

ASKED_AT = "http://tailrace"  # the API in the same process
PASSED_ON = ("authorization", "x-axiom-org-id", "cookie", "x-tailrace-console")  # headers: who asks

logger = logging.getLogger(__name__)


class AgentsNotInstalled(TailraceError):
    """The package that speaks the protocol is not installed."""

    code = "agents_not_installed"
    status = 501


class AgentApplication:
    """Answers requests to tools by asking the API's application. To be used on the event loop.

    The library is imported, and its part that runs beside the requests started, with the first request; that ends with
    the event loop.
    """

    def __init__(self, api: Application) -> None:
        self._api = api
        self._starting: asyncio.Task[Application] | None = None
        self._running: asyncio.Task[None] | None = None

    async def started(self) -> Application:
        """Return the application of the protocol, for requests whose credential was looked at already.

        Raise AgentsNotInstalled.
        """
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Application:
        try:
            make_manager = await asyncio.to_thread(_import)
        except ModuleNotFoundError as error:
            raise AgentsNotInstalled(
                f"this server needs the package {error.name} for agents: pip install tailrace[mcp] has it"
            ) from error
        manager = make_manager(self._client)
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def run() -> None:
            async with manager.run():
                ready.set_result(None)
                await asyncio.Event().wait()

        self._running = asyncio.create_task(run())
        await ready
        application: Application = manager.handle_request
        return application

    def _client(self, headers: Mapping[str, str]) -> "httpx.AsyncClient":
        import httpx  # here, as most servers need it late or never

        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self._api),
            base_url=ASKED_AT,
            headers={name: value for name in PASSED_ON if (value := headers.get(name))},
        )


def _import() -> Callable[..., Any]:
    from tailrace.agents.server import session_manager

    return session_manager
