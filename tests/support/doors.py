"""What the tests of doors do alike: a token, a request without the owner's, and the events of a dataset with times."""

from typing import Any

import httpx

from support.serving import Serving


async def token_for(served: Serving, *datasets: str, **more: Any) -> str:
    """Return a new token that may send to these datasets."""
    body = {"name": "t", "datasetCapabilities": {name: {"ingest": ["create"]} for name in datasets}, **more}
    answer = await served.client.post("/v2/tokens", json=body)
    assert answer.status_code == 200, answer.text
    secret: str = answer.json()["token"]
    return secret


async def ask(served: Serving, method: str, path: str, **request: Any) -> httpx.Response:
    """Return the answer to a request that has only the headers given."""
    async with httpx.AsyncClient(transport=served.client._transport, base_url="http://127.0.0.1") as client:
        return await client.request(method, path, **request)


async def rows(served: Serving, dataset: str, order: str = "_time") -> list[dict[str, Any]]:
    """Return the events of a dataset in an order, without what is null and the time of their receipt."""
    query = f'SELECT * EXCLUDE (_sysTime) FROM "{dataset}" ORDER BY {order}'
    answer = await served.client.post("/tailrace/v1/sql", json={"sql": query})
    assert answer.status_code == 200, answer.text
    return [{name: value for name, value in row.items() if value is not None} for row in answer.json()["rows"]]
