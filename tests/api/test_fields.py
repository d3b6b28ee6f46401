"""What is said of fields, and map fields, over HTTP; what a dataset is told at its creation and later."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Server


def fields(server: "Server", dataset: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in server.client.get(f"/v2/datasets/{dataset}/fields").json()}


def test_a_field_has_the_unit_and_the_description_that_it_was_given(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"took": 1.5, "http": {"path/of": 1}}])
    before = fields(server, dataset)["took"]
    path = f"/v2/datasets/{dataset}/fields/took"

    changed = server.client.put(path, json={"unit": "ms", "hidden": True, "description": "how long"})

    assert changed.status_code == 200
    assert changed.json() == {**before, "unit": "ms", "hidden": True, "description": "how long"}
    assert server.client.put(path, json={"hidden": False}).json()["unit"] == "ms"
    assert server.client.get(path).json() == fields(server, dataset)["took"]
    assert fields(server, dataset)["took"]["description"] == "how long"


def test_a_query_sees_the_unit_and_the_description_of_a_field(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"took": 1.5, "n": 1}])
    server.client.put(f"/v2/datasets/{dataset}/fields/took", json={"unit": "ms"})

    apl = f"['{dataset}'] | project a = field_metadata('took'), b = field_metadata('n', '{dataset}') | take 1"
    answer = server.client.post("/v1/datasets/_apl?format=tabular", json={"apl": apl}).json()

    known = fields(server, dataset)
    assert answer["tables"][0]["columns"] == [
        [{"type": known["took"]["type"], "unit": "ms"}],
        [{"type": known["n"]["type"]}],
    ]


def test_a_field_that_is_not_there_is_404(server: "Server", dataset: str) -> None:
    assert server.client.get(f"/v2/datasets/{dataset}/fields/none").status_code == 404
    assert server.client.put(f"/v2/datasets/{dataset}/fields/none", json={"unit": "ms"}).status_code == 404


def test_what_is_said_of_fields_goes_with_the_dataset(server: "Server", dataset: str) -> None:
    server.ingest(dataset, [{"took": 1}])
    server.client.put(f"/v2/datasets/{dataset}/fields/took", json={"unit": "ms"})
    server.client.put(f"/v2/datasets/{dataset}/mapfields", json=["a"])

    server.client.delete(f"/v2/datasets/{dataset}")
    server.create(dataset)
    server.ingest(dataset, [{"took": 1}])

    assert fields(server, dataset)["took"]["unit"] == ""
    assert server.client.get(f"/v2/datasets/{dataset}/mapfields").json() == []


def test_map_fields_are_added_replaced_and_removed(server: "Server", dataset: str) -> None:
    path = f"/v2/datasets/{dataset}/mapfields"
    assert server.client.get(path).json() == []

    assert server.client.post(path, json={"name": "a.b"}).json() == {"name": "a.b"}
    assert server.client.post(path, json={"name": "a.b"}).status_code == 409
    assert server.client.put(path, json=["c", "d"]).json() == ["c", "d"]
    assert server.client.get(path).json() == ["c", "d"]
    assert server.client.get(f"/v2/datasets/{dataset}").json()["mapFields"] == ["c", "d"]
    assert server.client.delete(f"{path}/c").status_code == 204
    assert server.client.delete(f"{path}/c").status_code == 404
    assert server.client.get(path).json() == ["d"]


@pytest.mark.parametrize("names", [["a", "a"], ["__invalid__"], [""], ["a" * 1025]])
def test_map_fields_that_cannot_be_are_400_and_change_nothing(server: "Server", dataset: str, names: list[str]) -> None:
    path = f"/v2/datasets/{dataset}/mapfields"
    server.client.put(path, json=["kept"])

    assert server.client.put(path, json=names).status_code == 400
    assert server.client.get(path).json() == ["kept"]


def test_map_fields_of_no_dataset_are_404(server: "Server") -> None:
    assert server.client.get("/v2/datasets/nothing-here/mapfields").status_code == 404


@pytest.mark.parametrize("prefix", ["/v1", "/v2"])
def test_a_dataset_has_the_kind_and_the_retention_that_it_was_made_with(
    server: "Server", dataset: str, prefix: str
) -> None:
    body = {"name": f"{dataset}-k", "kind": "otel:logs:v1", "retentionDays": 7, "useRetentionPeriod": True}
    made = server.client.post(f"{prefix}/datasets", json=body).json()

    assert (made["kind"], made["retentionDays"], made["useRetentionPeriod"]) == ("otel:logs:v1", 7, True)
    changed = server.client.put(f"{prefix}/datasets/{dataset}-k", json={"description": "new"}).json()
    assert changed == {**made, "description": "new", "updatedAt": changed["updatedAt"]}
    assert changed["updatedAt"] > made["updatedAt"]
    assert server.client.get(f"{prefix}/datasets/{dataset}-k").json() == changed
    assert changed in server.client.get(f"{prefix}/datasets").json()
    kept = server.client.put(f"{prefix}/datasets/{dataset}-k", json={"useRetentionPeriod": False}).json()
    assert (kept["retentionDays"], kept["useRetentionPeriod"]) == (7, False)


def test_days_that_are_given_alone_are_kept_to(server: "Server", dataset: str) -> None:
    changed = server.client.put(f"/v2/datasets/{dataset}", json={"retentionDays": 30}).json()
    assert changed["useRetentionPeriod"] is True


@pytest.mark.parametrize("wrong", [{"kind": "csv"}, {"retentionDays": -1}, {"retentionDays": 10**9}])
def test_a_kind_or_a_retention_that_cannot_be_is_400(server: "Server", dataset: str, wrong: dict[str, Any]) -> None:
    answer = server.client.post("/v2/datasets", json={"name": f"{dataset}-w", **wrong})
    assert answer.status_code == 400
    assert server.client.get(f"/v2/datasets/{dataset}-w").status_code == 404


def test_no_dataset_is_changed_that_is_not_there(server: "Server") -> None:
    assert server.client.put("/v2/datasets/nothing-here", json={"description": "x"}).status_code == 404


def test_a_map_field_is_one_column_also_once_it_is_none_any_more(server: "Server", dataset: str) -> None:
    path = f"/v2/datasets/{dataset}/mapfields"

    def shown() -> dict[str, Any]:
        answer = server.client.post("/v1/datasets/_apl?format=tabular", json={"apl": f"['{dataset}'] | order by n asc"})
        table = answer.json()["tables"][0]
        return dict(zip([field["name"] for field in table["fields"]], table["columns"], strict=True))

    server.ingest(dataset, [{"n": 1, "foo": {"bar": "v", "x.y": 2}}])
    assert {"foo.bar", "foo.x.y"} < set(shown())
    assert server.client.post(path, json={"name": "foo"}).json() == {"name": "foo"}
    assert server.client.delete(f"{path}/foo").status_code == 204
    server.ingest(dataset, [{"n": 2, "bar": {"buz": 1}}])

    assert server.client.get(path).json() == []
    found = shown()
    assert set(found) == {"_time", "_sysTime", "n", "foo", "bar.buz"}
    assert found["foo"] == [{"bar": "v", "x.y": 2}, None]
    fields = server.client.get(f"/v2/datasets/{dataset}/fields").json()
    assert {each["name"]: each["type"] for each in fields if "." in each["name"] or each["name"] == "foo"} == {
        "foo": "map",
        "bar.buz": "integer",
    }
    assert server.client.put(path, json=["bar"]).status_code == 200
    assert server.client.put(path, json=[]).status_code == 200
    assert set(shown()) == {"_time", "_sysTime", "n", "foo", "bar"}
