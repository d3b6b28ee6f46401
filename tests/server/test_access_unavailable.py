"""A database of tokens and keys that does not answer: each request with a credential is 503, whatever it is for."""

import asyncio
import sqlite3
from pathlib import Path

import httpx
import pytest
from support.serving import serving


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/datasets/demo/ingest", {"Authorization": "Bearer xaat-unknown"}),
        ("/v1/shop", {"Authorization": "Bearer unknown"}),
        ("/v1/events", {"Authorization": "Bearer unknown"}),
        ("/v1/events", {"X-Moesif-Application-Id": "unknown"}),
        ("/v1/events", {"X-Moesif-Application-Id": "unknown", "x-api-key": "unknown"}),
        ("/moesif/v1/events", {"X-Moesif-Application-Id": "unknown"}),
        ("/baselime/v1/shop", {"x-api-key": "unknown"}),
    ],
)
def test_a_request_whose_credential_cannot_be_looked_up_is_503(
    tmp_path: Path, path: str, headers: dict[str, str]
) -> None:
    async def run() -> httpx.Response:
        file = tmp_path / "shared.db"
        async with serving(tmp_path, database_url=f"sqlite:///{file}") as served:
            with sqlite3.connect(file) as connection:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (name,) in tables:
                    connection.execute(f'DROP TABLE "{name}"')
            del served.client.headers["Authorization"]
            return await served.client.post(path, json=[{"a": 1}], headers=headers)

    answer = asyncio.run(run())

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
