"""Reloading: one part that cannot be holds up no other, now or later, and what was asked before is done."""

import asyncio
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tailrace.config import ConfigError
from tailrace.server.parts import Server
from tailrace.server.reloading import Reloader
from tailrace.server.settings import SCHEMA
from tailrace.server.tls import Certificate, CertificateFiles

NEW = Certificate(Path("certificate.pem"), Path("key.pem"), ("new.example.com",), 1)


@pytest.mark.parametrize("error", [ConfigError("it is wrong"), RuntimeError("it broke")])
def test_settings_that_cannot_be_read_hold_up_no_certificate(error: Exception) -> None:
    renewed: list[tuple[Path, Path]] = []
    asked = asyncio.Event()
    asked.set()  # during the start

    def reread() -> Any:
        raise error

    async def run() -> None:
        used = asyncio.Event()

        def renew(files: tuple[Path, Path]) -> None:
            renewed.append(files)
            used.set()

        server = SimpleNamespace(
            settings=SCHEMA.defaults, http=SimpleNamespace(renew=renew), metrics=SimpleNamespace(), workers=None
        )
        reloader = Reloader(
            cast(Server, server),
            asked,
            files=cast(CertificateFiles, SimpleNamespace(changed=lambda is_asked: NEW)),
            doors=[],
            grpc=cast(Any, SimpleNamespace(renew=lambda certificate: None)),
            reread=reread,
        )
        running = asyncio.create_task(reloader.run())
        for _ in range(2):
            await used.wait()
            used.clear()
            asked.set()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(asyncio.wait_for(run(), 60))

    assert renewed[:2] == [NEW.files, NEW.files]
