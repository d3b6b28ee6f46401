"""The HTTP client of the notifiers, which connects only to addresses that were checked."""

import ssl

import httpx

from tailrace import __version__
from tailrace.monitors.addresses import Resolve, is_public, system_resolve
from tailrace.monitors.notifications import DeliveryFailed


def client(tls: ssl.SSLContext, *, private: bool, resolve: Resolve, timeout_s: float) -> httpx.AsyncClient:
    """Return a client that follows no redirects; with `private` it may go to addresses that are not public."""
    return httpx.AsyncClient(
        transport=CheckedTransport(
            # The pool keeps connections by address: one would be used for another host name, whose certificate was not
            # checked.
            httpx.AsyncHTTPTransport(verify=tls, limits=httpx.Limits(max_keepalive_connections=0)),
            private=private,
            resolve=resolve,
        ),
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": f"tailrace/{__version__}"},
    )


class CheckedTransport(httpx.AsyncBaseTransport):
    """Connects to an address that was checked, not to a name that might mean another one by then.

    The Host header and the name that the certificate must have stay those of the URL.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, *, private: bool, resolve: Resolve = system_resolve) -> None:
        self._inner = inner
        self._private = private
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send to the first of the allowed addresses that takes the connection; raise DeliveryFailed."""
        host = request.url.host
        port = request.url.port or (443 if request.url.scheme == "https" else 80)
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise DeliveryFailed(f"the host name {host} cannot be resolved: {error}") from error
        allowed = [each for each in addresses if self._private or is_public(each)]
        if not allowed:
            raise DeliveryFailed(
                f"{host} is at {', '.join(addresses) or 'no address'}, which is not public "
                "(the setting outgoing_private allows it)",
                retryable=False,
            )
        failed: httpx.ConnectError | httpx.ConnectTimeout | None = None
        for address in allowed:
            pinned = httpx.Request(
                request.method,
                request.url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host},
            )
            try:
                return await self._inner.handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failed = error
        raise DeliveryFailed(f"no connection to {host} port {port}: {failed}")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()
