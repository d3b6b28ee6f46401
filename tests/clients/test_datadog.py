"""Datadog's Python client, unmodified: its logs are stored, with every encoding it has, and its errors are errors."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import httpx
import pytest
from datadog_api_client import ApiClient, Configuration
from datadog_api_client.exceptions import ApiException
from datadog_api_client.v1.api.authentication_api import AuthenticationApi
from datadog_api_client.v2.api.logs_api import LogsApi
from datadog_api_client.v2.model.content_encoding import ContentEncoding
from datadog_api_client.v2.model.http_log import HTTPLog
from datadog_api_client.v2.model.http_log_item import HTTPLogItem

if TYPE_CHECKING:
    from conftest import Server


def configured(server: "Server", token: str) -> Configuration:
    """Return a configuration whose every request goes to the server."""
    configuration = Configuration(host=server.url, enable_retry=False)
    configuration.api_key["apiKeyAuth"] = token
    configuration.server_operation_index["submit_log"] = 1
    address = server.url.removeprefix("http://")
    configuration.server_operation_variables["submit_log"] = {"name": address, "protocol": "http"}
    return configuration


@pytest.fixture
def client(server: "Server", dataset: str) -> Iterator[ApiClient]:
    with ApiClient(configured(server, server.api_token(dataset))) as made:
        yield made


def test_what_is_sent_is_stored(server: "Server", client: ApiClient, dataset: str) -> None:
    encodings = [ContentEncoding.IDENTITY, ContentEncoding.GZIP, ContentEncoding.DEFLATE]
    for number, encoding in enumerate(encodings):
        items = [
            HTTPLogItem(
                ddsource="nginx",
                ddtags="env:staging",
                hostname="web-1",
                message=f"€ {number} {line}",
                service="pay",
                status="info",
                timestamp="1767323045123",
                big=2**53 + 1,
            )
            for line in range(10)
        ]
        answer = LogsApi(client).submit_log(HTTPLog(items), content_encoding=encoding, ddtags="team:a")
        assert answer == {}

    rows = server.sql(f'SELECT * EXCLUDE (_sysTime, _rest) FROM "{dataset}" ORDER BY message')
    assert rows == [
        {
            "_time": "2026-01-02T03:04:05.123Z",
            "big": 2**53 + 1,
            "ddsource": "nginx",
            "ddtags": "env:staging,team:a",
            "hostname": "web-1",
            "message": f"€ {number} {line}",
            "service": "pay",
            "status": "info",
            "timestamp": "1767323045123",
        }
        for number in range(3)
        for line in range(10)
    ]


def test_a_key_is_validated_and_refused(server: "Server", client: ApiClient) -> None:
    assert AuthenticationApi(client).validate().valid
    with ApiClient(configured(server, "0123456789abcdef0123456789abcdef")) as stranger:
        with pytest.raises(ApiException) as refused:
            AuthenticationApi(stranger).validate()
        assert refused.value.status == 403
        with pytest.raises(ApiException) as refused:
            LogsApi(stranger).submit_log(HTTPLog([HTTPLogItem(message="hello")]))
        assert refused.value.status == 403


def test_a_key_in_the_path_is_in_no_report(server: "Server") -> None:
    key = "fedcba9876543210fedcba9876543210"
    for mount in ("", "/datadog"):
        assert httpx.post(f"{server.url}{mount}/v1/input/{key}", json=[{"message": "hello"}]).status_code == 403

    refusals = server.client.get("/tailrace/v1/refusals").text
    assert "/v1/input/{secret}" in refusals
    assert key not in refusals
