"""The header X-Axiom-Event-Labels: what is refused, in Axiom's shape."""

from typing import TYPE_CHECKING

import pytest
from support import http

if TYPE_CHECKING:
    from conftest import Server


@pytest.mark.parametrize(
    "labels", ["{", "[]", "5", '{"a":1e400}', '{"_time":1}', '{"a":1}{"b":2}', '{"' + "k" * 300 + '":1}']
)
def test_labels_that_are_no_fields_are_refused_with_a_reason(server: "Server", labels: str) -> None:
    response = http.post(
        f"{server.url}/v1/datasets/demo/ingest",
        headers={"Authorization": f"Bearer {server.token}", "X-Axiom-Event-Labels": labels},
        json=[{"n": 1}],
    )

    assert response.status_code == 400
    assert response.json()["code"] == 400
    assert "X-Axiom-Event-Labels" in response.json()["message"]
