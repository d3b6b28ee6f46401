"""The console's pages over HTTP: the page at `/` for browsers, and its files under a path of their own."""

import asyncio
from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tailrace.console.assets import INDEX, Asset, Assets

PREFIX = "/tailrace/console/"  # of all files but the page
NAME = "console"
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}
FOREVER = "public, max-age=31536000, immutable"  # as the name of a file has a digest of its content
NOT_BUILT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tailrace</title>
<p>The console is not built into this installation. In a checkout, <code>make run</code> builds it.</p></html>
"""


class Console:
    """What browsers are shown."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        methods = ["GET", "HEAD"]
        routes = [
            Route("/", self._page, methods=methods),
            Route(PREFIX + "{path:path}", self._file, methods=methods),
        ]
        self.application = Starlette(routes=routes)
        self.application.router.redirect_slashes = False

    def takes(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request is for the console: the path `/` is another's unless a browser asks for a page."""
        if path == "/":
            return method in ("GET", "HEAD") and b"text/html" in headers.get(b"accept", b"")
        return path.startswith(PREFIX)

    async def _page(self, request: Request) -> Response:
        asset = await asyncio.to_thread(self._assets.get, INDEX)
        if asset is None:
            return Response(NOT_BUILT, 503, headers=HEADERS, media_type="text/html")
        return await self._answer(request, INDEX, asset, "no-cache")

    async def _file(self, request: Request) -> Response:
        path = request.url.path[1:]
        asset = await asyncio.to_thread(self._assets.get, path)
        if asset is None:
            return Response(b"not found\n", 404, headers=HEADERS, media_type="text/plain")
        return await self._answer(request, path, asset, FOREVER)

    async def _answer(self, request: Request, path: str, asset: Asset, cache: str) -> Response:
        headers = {**HEADERS, "cache-control": cache, "etag": asset.etag, "vary": "accept, accept-encoding"}
        if request.headers.get("if-none-match") == asset.etag:
            return Response(status_code=304, headers=headers)
        content = asset.content
        if "br" in request.headers.get("accept-encoding", ""):
            compressed = await asyncio.to_thread(self._assets.brotli, path, asset)
            if compressed is not None:
                content = compressed
                headers["content-encoding"] = "br"
        return Response(content, headers={**headers, "content-type": asset.media_type})
