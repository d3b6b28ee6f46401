"""Requests of the tests by one client, as each call of `httpx.get` would make a TLS context: 20 ms for nothing."""

from typing import Any

import httpx

TIMEOUT_S = 60.0

_CLIENT = httpx.Client(trust_env=False, verify=False, timeout=TIMEOUT_S)


def request(method: str, url: str, **more: Any) -> httpx.Response:
    """Return the answer; no cookie of an earlier one is sent."""
    _CLIENT.cookies.clear()
    return _CLIENT.request(method, url, **more)


def get(url: str, **more: Any) -> httpx.Response:
    """Return the answer to a GET."""
    return request("GET", url, **more)


def post(url: str, **more: Any) -> httpx.Response:
    """Return the answer to a POST."""
    return request("POST", url, **more)


def delete(url: str, **more: Any) -> httpx.Response:
    """Return the answer to a DELETE."""
    return request("DELETE", url, **more)
