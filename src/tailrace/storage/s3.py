"""Stores of objects by URL, as the environment says how to reach them."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.exceptions import BaseError
from obstore.store import S3Store

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

CONNECT_TIMEOUT_S = 5
_TRUE = frozenset({"1", "true", "on", "yes", "y"})  # as obstore reads a variable of the environment


def s3_store(url: str, timeouts: "ClientConfig", retries: "RetryConfig") -> S3Store:
    """Open the store at a URL `s3://bucket/prefix`, with endpoint, region and credentials of the environment (AWS_*).

    Nothing is asked of it yet. Raise ValueError for a URL or an environment that makes no store.
    """
    try:
        return S3Store.from_url(
            url,
            client_options={
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                # Which the library reads from the environment only where it is given no options.
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() in _TRUE,
                **timeouts,
            },
            retry_config=retries,
        )
    except (BaseError, ValueError, OSError) as error:
        raise ValueError(f"{url} is no object store: {str(error).splitlines()[0]}") from error
