"""A server whose users and tokens are in the database that a URL names."""

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

if TYPE_CHECKING:
    from conftest import MakeServer


def test_users_and_tokens_are_where_the_url_says(make_server: "MakeServer", tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/elsewhere.db"
    server = make_server(env={"TAILRACE_ACCESS_URL": url}).start()

    made = server.client.post("/v2/tokens", json={"name": "t", "orgCapabilities": {"datasets": ["read"]}})

    assert made.status_code == 200
    assert not (server.data / "access.db").exists()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM tokens WHERE kind = 'api'")) == 1
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["nonsense://host/name", "postgresql+psycopg://nobody:hidden@127.0.0.1:1/nothing", "sqlite:////nowhere/a.db"]
)
def test_a_database_that_cannot_be_opened_is_told_and_no_server_starts(make_server: "MakeServer", url: str) -> None:
    server = make_server(env={"TAILRACE_ACCESS_URL": url})
    process = server.launch()
    try:
        assert process.wait(60) == 1
    except subprocess.TimeoutExpired:
        os.kill(process.pid, 9)
        raise
    told = server.errors.read_text()
    assert "access_url" in told
    assert "hidden" not in told
    assert "Traceback" not in told
