"""Calls over gRPC: a message is read when it is asked for, few at a time, and not longer than others wait for it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from support.ports import free_port
from support.streams import HOST, until

from tailrace.events import TailraceError
from tailrace.protocols.doors.otlp_status import OtlpStatus, encode_status
from tailrace.server import grpc_listener
from tailrace.server.asgi import Application, Receive, Scope, Send
from tailrace.server.grpc_listener import GrpcListener
from tailrace.server.grpc_port import GrpcLimits

METHOD = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
LIMITS = GrpcLimits(max_message_bytes=1000, backlog_bytes=2000, max_connections=3, idle_timeout_s=60)
Code = grpc.StatusCode


async def answer(send: Send, status: int = 200, body: bytes = b"", *headers: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the message, or with what is wrong with it."""
    try:
        message = await receive()
    except TailraceError as error:
        assert (await receive())["body"] == b""
        await answer(send, error.status, encode_status(OtlpStatus(8, error.message)), (b"retry-after", b"1"))
    else:
        await answer(send, 200, message["body"])


@asynccontextmanager
async def calling(application: Application, limits: GrpcLimits = LIMITS) -> AsyncIterator[tuple[Any, int]]:
    """Yield what makes a call, its message being an iterator's, and the port."""
    port = free_port()
    listener = GrpcListener(HOST, port, limits)
    await listener.start(application)
    try:
        async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:
            yield channel.stream_unary(METHOD), port
    finally:
        await listener.port.stop(0)


async def messages(*some: bytes) -> AsyncIterator[bytes]:
    for message in some:
        yield message


async def never() -> AsyncIterator[bytes]:
    await asyncio.Event().wait()
    yield b""


async def failure(call: Any) -> tuple[Any, str]:
    with pytest.raises(grpc.RpcError) as failed:
        await call
    return failed.value.code(), failed.value.details()


def test_a_call_is_refused_before_its_message_is_read() -> None:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        assert (b"expect", b"100-continue") in scope["headers"]
        await answer(send, 401, encode_status(OtlpStatus(16, "no token")))

    async def run() -> None:
        async with calling(refuse) as (call, _):
            assert await failure(call(never())) == (Code.UNAUTHENTICATED, "no token")

    asyncio.run(run())


def test_a_message_that_does_not_come_gives_way_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_listener, "LEAST_READ_S", 0.1)
    asked: list[Scope] = []

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        asked.append(scope)
        await echo(scope, receive, send)

    async def run() -> None:
        async with calling(note) as (call, _):
            hanging = [call(never())]
            await until(lambda: len(asked) == 1)
            hanging.append(call(never()))
            await until(lambda: len(asked) == 2)
            assert await call(messages(b"sent")) == b"sent"
            code, reason = await failure(hanging[0])
            assert (code, "comes slowly" in reason) == (Code.RESOURCE_EXHAUSTED, True)
            names = {name for name, _ in await hanging[0].trailing_metadata()}
            assert {"google.rpc.retryinfo-bin", "grpc-status-details-bin"} <= names
            monkeypatch.setattr(grpc_listener, "READ_WAIT_S", 0.0)
            again = call(never())
            await until(lambda: len(asked) == 4)
            code, reason = await failure(call(messages(b"sent")))
            assert (code, "of other calls come in" in reason) == (Code.RESOURCE_EXHAUSTED, True)
            again.cancel()

    asyncio.run(run())


def test_no_more_calls_are_under_way_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grpc_listener, "MAX_CALLS", 0)

    async def run() -> None:
        async with calling(echo) as (call, _):
            code, reason = await failure(call(messages(b"")))
            assert (code, reason) == (Code.UNAVAILABLE, "there are 0 calls under way already")

    asyncio.run(run())


def test_what_is_no_message_is_told_and_logs_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with calling(echo) as (call, _):
            code, reason = await failure(call(messages()))
            assert (code, "has no message" in reason) == (Code.RESOURCE_EXHAUSTED, True)
            code, reason = await failure(call(messages(b"x" * 1001)))
            assert (code, "larger than max" in reason) == (Code.RESOURCE_EXHAUSTED, True)
            assert await call(messages(b"x" * 1000)) == b"x" * 1000

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert caplog.records == []


def test_what_a_call_does_is_done_whole_though_its_client_goes_away(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    async def run() -> None:
        stored = asyncio.Event()

        async def store(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            done.append("read")
            gone = await receive()
            await stored.wait()
            done.append(gone["type"])
            await answer(send)

        async with calling(store) as (call, _):
            going = call(messages(b"a"))
            await until(lambda: done == ["read"])
            going.cancel()
            stored.set()
            await until(lambda: done == ["read", "http.disconnect"])

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert caplog.records == []


def test_there_are_only_so_many_connections() -> None:
    async def run() -> None:
        async with calling(echo) as (call, port):
            assert await call(messages(b"a")) == b"a"
            others = [await asyncio.open_connection(HOST, port) for _ in range(4)]
            ended = [asyncio.create_task(reader.read()) for reader, _ in others]
            await until(lambda: sum(each.done() for each in ended) >= 2)
            assert await call(messages(b"b")) == b"b"
            for _, writer in others:
                writer.close()

    asyncio.run(run())
