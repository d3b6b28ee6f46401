"""The outermost application of a worker: its own answers, or the main process's where it passes a request on."""

import logging
import os
from typing import Any

from tailrace.ingest.worker_service import PassedOn
from tailrace.server.app import KEPT
from tailrace.server.asgi import Application, Message, Receive, Scope, Send
from tailrace.server.workers.relay import MainGone, Relay
from tailrace.server.workers.shared import SharedState

logger = logging.getLogger(__name__)


async def pass_on_all(scope: Scope, receive: Receive, send: Send) -> None:
    """Raise PassedOn: the API is the main process's."""
    raise PassedOn


class PassingApplication:
    """Answers with an application, which raises PassedOn before it has answered or stored anything."""

    def __init__(self, relay: Relay, shared: SharedState) -> None:
        self._application: Application | None = None
        self._relay = relay
        self._shared = shared

    def open(self, application: Application) -> None:
        """Answer with an application from now on; before that everything is passed on."""
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            await self._answer(scope, receive, send)
        except MainGone:
            # Nobody knows what became of it there; and whoever sent it is to see what is so of the whole server.
            os._exit(1)
        except Exception:
            logger.exception("a request could not be passed on")
            raise  # the HTTP server answers 500

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._application is None or not self._shared.is_open:
            await self._relay(scope, receive, send)
            return
        own = dict(scope)  # of which parts are replaced, such as the client's address
        try:
            await self._application(own, receive, send)
        except PassedOn as passed:
            status = await self._pass_on(scope, own.get(KEPT), receive, send)
            if passed.learned is not None and 200 <= status < 300:
                passed.learned()

    async def _pass_on(self, scope: Scope, body: bytes | None, receive: Receive, send: Send) -> int:
        """Have the main process answer, with the body where it was read already; return the status."""
        status = 0

        async def receive_from_the_beginning() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message: dict[str, Any] = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        await self._relay(scope, receive_from_the_beginning, send_and_note)
        return status
