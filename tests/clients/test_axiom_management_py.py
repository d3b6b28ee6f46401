"""Axiom's Python client, unmodified, for management: datasets, tokens, annotations, the current user."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import axiom_py
import pytest
from axiom_py.annotations import AnnotationCreateRequest, AnnotationUpdateRequest
from axiom_py.client import AxiomError
from axiom_py.tokens import (
    CreateTokenRequest,
    RegenerateTokenRequest,
    TokenDatasetCapabilities,
    TokenOrganizationCapabilities,
)

if TYPE_CHECKING:
    from conftest import Server


@pytest.fixture
def client(server: "Server") -> Iterator[axiom_py.Client]:
    made = axiom_py.Client(token=server.token, org_id="an-organisation", url=server.url)
    yield made
    made.session.close()


def test_datasets(client: axiom_py.Client, dataset: str) -> None:
    name = f"{dataset}-py"
    made = client.datasets.create(name, "made by a test")
    assert client.datasets.get(name) == made
    assert made in client.datasets.get_list()
    changed = client.datasets.update(name, "changed by a test")

    assert vars(changed) == {**vars(made), "description": "changed by a test"}
    assert client.datasets.get(name) == changed
    assert changed in client.datasets.get_list()
    client.datasets.delete(name)
    with pytest.raises(AxiomError, match="not found"):
        client.datasets.get(name)


def test_tokens(client: axiom_py.Client, dataset: str) -> None:
    made = client.tokens.create(
        CreateTokenRequest(
            name="by the client",
            datasetCapabilities={dataset: TokenDatasetCapabilities(ingest=["create"], query=["read"])},
            orgCapabilities=TokenOrganizationCapabilities(annotations=["read"]),
            expiresAt=(datetime.now(UTC) + timedelta(days=1)).isoformat(),
        )
    )
    assert made.token.startswith("xaat-")
    got = client.tokens.get(made.id)
    assert {**vars(got), "token": made.token} == vars(made)
    assert got in client.tokens.list()

    soon = datetime.now(UTC) + timedelta(hours=1)
    again = client.tokens.regenerate(
        made.id, RegenerateTokenRequest(existingTokenExpiresAt=soon, newTokenExpiresAt=soon + timedelta(days=1))
    )
    assert again.id != made.id
    assert vars(again) == {**vars(got), "id": again.id, "expiresAt": again.expiresAt}
    assert client.tokens.get(again.id) == again
    for each in (made.id, again.id):
        client.tokens.delete(each)
    assert not {made.id, again.id} & {each.id for each in client.tokens.list()}


def test_annotations(client: axiom_py.Client, dataset: str) -> None:
    made = client.annotations.create(
        AnnotationCreateRequest([dataset], None, None, "a title", None, None, "a-deployment")
    )
    assert client.annotations.get(made.id) == made
    listed = client.annotations.list(
        [dataset], datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    )
    assert listed == [made]

    changed = client.annotations.update(
        made.id, AnnotationUpdateRequest(None, None, None, "another title", None, None, None)
    )
    assert vars(changed) == {**vars(made), "title": "another title"}
    assert client.annotations.get(made.id) == changed
    client.annotations.delete(made.id)
    assert client.annotations.list([dataset]) == []


def test_the_current_user(server: "Server", client: axiom_py.Client) -> None:
    user = client.users.current()

    assert user is not None
    shown = server.client.get("/v2/user").json()
    assert (user.id, user.name, user.role.id) == (shown["id"], shown["name"], "owner")


def test_the_asynchronous_client(server: "Server", dataset: str) -> None:
    name = f"{dataset}-async"

    async def manage() -> None:
        async with axiom_py.AsyncClient(token=server.token, org_id="an-organisation", url=server.url) as client:
            made = await client.datasets.create(name, "made by a test")
            assert await client.datasets.get(name) == made
            assert made in await client.datasets.get_list()
            changed = await client.datasets.update(name, "changed by a test")
            assert vars(changed) == {**vars(made), "description": "changed by a test"}

            request = AnnotationCreateRequest([name], None, None, "a title", None, None, "a-deployment")
            annotation = await client.annotations.create(request)
            assert await client.annotations.get(annotation.id) == annotation
            assert await client.annotations.list([name]) == [annotation]

            token = await client.tokens.create(
                CreateTokenRequest(
                    name="by the client", datasetCapabilities={name: TokenDatasetCapabilities(query=["read"])}
                )
            )
            assert {**vars(await client.tokens.get(token.id)), "token": token.token} == vars(token)

            user = await client.users.current()
            assert user is not None
            assert user.id == server.client.get("/v2/user").json()["id"]

            await client.datasets.delete(name)
            with pytest.raises(AxiomError, match="not found"):
                await client.datasets.get(name)

    asyncio.run(manage())
