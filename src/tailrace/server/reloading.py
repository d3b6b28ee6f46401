"""Reloading: what a running server takes over at SIGHUP, and certificates whose files have changed."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from tailrace.config import ConfigError
from tailrace.server import logs
from tailrace.server.forwarded import Proxies
from tailrace.server.grpc_listeners import GrpcListeners
from tailrace.server.parts import Server
from tailrace.server.settings import SCHEMA, Settings
from tailrace.server.streams.sockets import DoorSocket, tls_context
from tailrace.server.tls import Certificate, CertificateFiles, stamp_of

if TYPE_CHECKING:
    from tailrace.server.fleet.parts import NodeServer

RELOADED = ("log_level", "log_format", "request_log", "trusted_proxies")  # all other settings need a restart
LOOK_S = 5.0  # between two looks at the files of certificates

Renewal: TypeAlias = Callable[[bool], Awaitable[None]]
"""Renews a certificate if its files have changed, or reads them where it is asked to; raises ConfigError."""

logger = logging.getLogger(__name__)


class Reloader:
    """Brings a running server up to date with its settings and certificates. To be used on the event loop."""

    def __init__(
        self,
        server: "Server | NodeServer",
        asked: asyncio.Event,
        *,
        files: CertificateFiles | None,
        doors: Sequence[DoorSocket],
        grpc: GrpcListeners,
        reread: Callable[[], Settings] | None,
        renewals: Sequence[Renewal] = (),
    ) -> None:
        """Take what is set to ask for a reload, the files of the server's certificate, and what reads the settings
        again: neither of the two need be there. `renewals` are of further certificates.
        """
        self._server = server
        self._files = files
        self._doors = [door for door in doors if door.tls is not None]
        self._grpc = grpc
        self._reread = reread
        self._renewals = renewals
        self._settings = server.settings
        self._asked = asked
        limits = server.settings.streams
        self._door_files = [Path(limits.tls_certificate), Path(limits.tls_key or limits.tls_certificate)]
        self._doors_seen = stamp_of(*self._door_files)

    async def run(self) -> None:
        """Reload whenever it is asked for, or a certificate has changed; for ever."""
        looks = LOOK_S if self._files is not None or self._doors or self._renewals else None
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(looks):  # `wait_for` of Python 3.11 may forget that it was cancelled
                    await self._asked.wait()
            is_asked = self._asked.is_set()
            self._asked.clear()
            for step in (self._reload_settings, self._renew_doors, *self._renewals, self._renew):
                try:
                    await step(is_asked)
                except ConfigError as error:
                    logger.error("what cannot be used stays as it was: %s", error)
                except Exception:
                    logger.exception("what cannot be reloaded stays as it was")

    async def _reload_settings(self, is_asked: bool) -> None:
        if self._reread is None or not is_asked:
            return
        found = await asyncio.to_thread(self._reread)
        changed = [name for name in SCHEMA.settings if SCHEMA.value(found, name) != SCHEMA.value(self._settings, name)]
        taken = {name: SCHEMA.value(found, name) for name in changed if name in RELOADED}
        values = {name: SCHEMA.value(self._settings, name) for name in SCHEMA.settings}
        self._settings = SCHEMA.build(values | taken)
        if taken:
            self._apply(self._settings)
            if self._server.workers is not None:
                self._server.workers.reload(taken)
        others = [name for name in changed if name not in RELOADED]
        logger.info(
            "SIGHUP: %s%s",
            f"reloaded {', '.join(taken)}" if taken else "no setting that can be reloaded has changed",
            f"; changed too, and for the next start: {', '.join(others)}" if others else "",
        )

    def _apply(self, settings: Settings) -> None:
        own = settings.server
        logs.configure(own.log_level, own.log_format)
        self._server.recorder.reconfigure(own.request_log, Proxies(own.trusted_proxies))

    async def _renew(self, is_asked: bool) -> None:
        """Renew the server's certificate if it has changed; raise ConfigError."""
        if self._files is not None:
            certificate = await asyncio.to_thread(self._files.changed, is_asked=is_asked)
            if certificate is not None:
                self._use(certificate)

    def _use(self, certificate: Certificate) -> None:
        self._server.http.renew(certificate.files)
        self._grpc.renew(certificate)
        self._server.metrics.certificate_not_after_s = certificate.not_after_s
        logger.info("new connections have the certificate for %s", ", ".join(certificate.names) or "no name")

    async def _renew_doors(self, is_asked: bool) -> None:
        """Renew the certificate of the doors if it has changed; raise ConfigError."""
        stamp = stamp_of(*self._door_files)
        if not self._doors or (stamp == self._doors_seen and not is_asked):
            return
        self._doors_seen = stamp
        limits = self._server.settings.streams
        tls_context(limits)  # which raises ConfigError where the files cannot be used
        for door in self._doors:
            assert door.tls is not None
            door.tls.load_cert_chain(limits.tls_certificate, limits.tls_key or None)
        logger.info("the doors' new connections have the certificate in %s", limits.tls_certificate)
