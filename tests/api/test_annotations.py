"""Annotations over HTTP."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server


def create(server: "Server", dataset: str, **more: Any) -> dict[str, Any]:
    answer = server.client.post("/v2/annotations", json={"type": "deploy", "datasets": [dataset], **more})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def listed(server: "Server", **params: Any) -> list[str]:
    answer = server.client.get("/v2/annotations", params=params)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()]


def test_an_annotation_is_the_same_object_when_made_got_and_listed(server: "Server", dataset: str) -> None:
    made = create(server, dataset, title="v1", url="some-url", description=None, time="2026-03-01T12:00:00+01:00")

    assert made["id"].startswith("ann_")
    assert (made["time"], made["url"], made["description"]) == ("2026-03-01T11:00:00Z", "some-url", "")
    assert "endTime" not in made
    assert server.client.get(f"/v2/annotations/{made['id']}").json() == made
    assert made in server.client.get("/v2/annotations").json()


def test_times_are_read_as_those_of_events_are(server: "Server", dataset: str) -> None:
    made = create(server, dataset, time="7 Mar 2026 18:04:07 CET", endTime="1772906647")

    assert (made["time"], made["endTime"]) == ("2026-03-07T17:04:07Z", "2026-03-07T18:04:07Z")
    # A plus that was not encoded is a space in a query string.
    for start, end in (("7 Mar 2026", "8 Mar 2026"), ("2026-03-07T19:04:07 01:00", "2026-03-07 18:04:08")):
        assert listed(server, datasets=dataset, start=start, end=end) == [made["id"]]
    assert listed(server, datasets=dataset, start="2026-03-07T20:04:08 01:00") == []
    refused = server.client.get("/v2/annotations", params={"start": "soon"})
    assert (refused.status_code, refused.json()["message"].split(":")[0]) == (400, "start is 'soon', which is no time")


def test_a_change_keeps_what_is_null(server: "Server", dataset: str) -> None:
    made = create(server, dataset, title="v1", time="2026-03-01T11:00:00Z")
    path = f"/v2/annotations/{made['id']}"

    changed = server.client.put(path, json={"title": None, "description": "new", "endTime": "2026-03-01T12:00:00Z"})

    assert changed.status_code == 200
    assert changed.json() == {**made, "description": "new", "endTime": "2026-03-01T12:00:00Z"}
    assert server.client.get(path).json() == changed.json()


def test_the_list_is_by_dataset_and_by_time(server: "Server", dataset: str) -> None:
    other = server.create(f"{dataset}-other")
    early = create(server, dataset, time="2026-01-01T00:00:00Z", endTime="2026-01-03T00:00:00Z")["id"]
    late = create(server, other, time="2026-02-01T00:00:00Z")["id"]
    both = f"{dataset},{other}"

    assert listed(server, datasets=dataset) == [early]
    assert listed(server, datasets=both) == listed(server, datasets=[dataset, other]) == [early, late]
    assert listed(server, datasets=both, start="2026-01-02T00:00:00Z") == [early, late]
    assert listed(server, datasets=both, start="2026-01-04T00:00:00Z") == [late]
    assert listed(server, datasets=both, end="2026-01-31T00:00:00+00:00") == [early]
    zero = "0001-01-01T00:00:00Z"
    assert listed(server, datasets=both, start=[zero, zero]) == [early, late]
    assert listed(server, datasets=both, start=[zero, "2026-01-15T00:00:00Z"]) == [early]


def test_an_annotation_outlives_its_dataset(server: "Server", dataset: str) -> None:
    made = create(server, dataset)
    server.client.delete(f"/v2/datasets/{dataset}")
    path = f"/v2/annotations/{made['id']}"

    assert server.client.get(path).status_code == 200
    assert server.client.delete(path).status_code == 204
    assert server.client.get(path).status_code == 404
    assert server.client.delete(path).status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "Big Deploy"},
        {"type": ""},
        {"datasets": []},
        {"title": "t" * 257},
        {"description": "d" * 513},
        {"url": "u" * 513},
        {"time": "yesterday"},
        {"time": "2026-03-02T00:00:00Z", "endTime": "2026-03-01T00:00:00Z"},
    ],
)
def test_what_is_no_annotation_is_400(server: "Server", dataset: str, wrong: dict[str, Any]) -> None:
    body = {"type": "deploy", "datasets": [dataset], **wrong}
    answer = server.client.post("/v2/annotations", json=body)
    assert answer.status_code == 400, answer.text
