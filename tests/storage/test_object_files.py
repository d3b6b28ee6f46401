"""What the library of object stores does that is told nowhere."""

from datetime import timedelta
from typing import Any

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from tailrace.storage.faults import ObjectStoreFault
from tailrace.storage.object_files import open_s3

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": NOBODY,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.quirk("obstore", "0.12.1")
@pytest.mark.parametrize(
    ("options", "is_allowed"), [({}, True), ({"client_options": {"timeout": timedelta(seconds=1)}}, False)]
)
def test_whether_http_is_allowed_is_read_from_the_environment_only_where_no_options_are_given(
    options: dict[str, Any], is_allowed: bool
) -> None:
    store = S3Store.from_url("s3://bucket/prefix", retry_config={"max_retries": 0}, **options)
    with pytest.raises(BaseError) as failed:
        obstore.get(store, "name")
    assert ("builder error" in str(failed.value) or "URL scheme is not allowed" in str(failed.value)) != is_allowed


def test_a_store_of_the_environment_is_asked_by_http_where_that_is_allowed() -> None:
    with pytest.raises(ObjectStoreFault, match="cannot be reached"):
        open_s3("s3://bucket/prefix/", retries=0).read("name")


@pytest.mark.parametrize("url", ["s3://", "nothing"])
def test_a_url_of_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is no object store"):
        open_s3(url)
