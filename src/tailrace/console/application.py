"""The console's pages over HTTP: the page at `/` for browsers, and its files under a path of their own."""

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tailrace.api.single_sign_on import CALLBACK_PATH
from tailrace.console.assets import ENCODINGS, INDEX, Asset, Assets

PREFIX = "/tailrace/console/"  # of all files but the page
HASHED = "tailrace/console/assets/"  # of those whose name has a digest of their content
NAME = "console"
_ZERO_WEIGHT = re.compile(r"q=0(\.0{0,3})?")
POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
FOREVER = "public, max-age=31536000, immutable"
REVALIDATED = "no-cache"
NOT_BUILT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Tailrace</title>
<p>The console is not built into this installation. In a checkout, <code>make run</code> builds it.</p></html>
"""
METHODS = ("GET", "HEAD")
CALLBACK_PARAMETERS = ("state", "code", "iss", "error", "error_description")  # of a provider's answer


class Console:
    """What browsers are shown."""

    def __init__(self, assets: Assets) -> None:
        self._assets = assets
        routes = [
            Route("/", self._page, methods=METHODS),
            Route(CALLBACK_PATH, come_back, methods=METHODS),
            Route(PREFIX + "{path:path}", self._file, methods=METHODS),
        ]
        self.application = Starlette(routes=routes)
        self.application.router.redirect_slashes = False

    def takes(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether a request is for the console: the path `/` is another's unless a browser asks for a page."""
        if path == "/":
            return method in METHODS and b"text/html" in headers.get(b"accept", b"")
        return path.startswith(PREFIX)

    async def _page(self, request: Request) -> Response:
        asset = await asyncio.to_thread(self._assets.get, INDEX)
        if asset is None:
            return Response(NOT_BUILT, 503, headers=HEADERS, media_type="text/html")
        return await self._answer(request, INDEX, asset)

    async def _file(self, request: Request) -> Response:
        path = request.url.path[1:]
        asset = await asyncio.to_thread(self._assets.get, path)
        if asset is None:
            return Response(b"not found\n", 404, headers=HEADERS, media_type="text/plain")
        return await self._answer(request, path, asset)

    async def _answer(self, request: Request, path: str, asset: Asset) -> Response:
        cache = FOREVER if path.startswith(HASHED) else REVALIDATED
        headers = {**HEADERS, "cache-control": cache, "vary": "accept, accept-encoding"}
        encoding = encoding_for(request.headers.get("accept-encoding", ""))
        content = await asyncio.to_thread(self._assets.encoded, path, encoding) if encoding else None
        # Of each encoding another one (RFC 9110, section 8.8.1).
        etag = asset.etag if content is None else f'{asset.etag[:-1]}-{encoding}"'
        headers["etag"] = etag
        if is_known(etag, request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        if content is not None:
            headers["content-encoding"] = encoding
        return Response(content or asset.content, headers={**headers, "content-type": asset.media_type})


async def come_back(request: Request) -> Response:
    """Send a browser that comes back from a provider on to the page, which ends the sign-in.

    What the provider sent moves behind #, so that the address is not kept with it; other parameters are dropped.
    """
    given = {name: request.query_params[name] for name in CALLBACK_PARAMETERS if name in request.query_params}
    location = f"{'../' * (CALLBACK_PATH.count('/') - 1)}#/sign-in?{urlencode(given)}"
    return Response(status_code=303, headers={**HEADERS, "location": location, "cache-control": "no-store"})


def encoding_for(accepted: str) -> str:
    """Return the encoding to send of those that a header Accept-Encoding accepts, "" for none.

    Browsers accept brotli under TLS only.
    """
    weights: dict[str, bool] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = not _ZERO_WEIGHT.fullmatch(parameter.strip())
    return next((encoding for encoding in ENCODINGS if weights.get(encoding)), "")


def is_known(etag: str, if_none_match: str) -> bool:
    """Return whether a header If-None-Match names an entity tag; proxies make weak ones of it."""
    named = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in named or named == ["*"]
