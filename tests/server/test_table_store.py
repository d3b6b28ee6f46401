"""Where the tables are: what a server starts on, and what it refuses in words."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from support.directories import contents
from support.events import batch
from support.s3 import Fault, Proxy, S3Server

from tailrace.lake import Catalog, Lake
from tailrace.server.doctor import examine
from tailrace.server.settings import SCHEMA, ServerSettings, Settings
from tailrace.server.table_store import open_catalog
from tailrace.storage import object_files

if TYPE_CHECKING:
    from conftest import MakeServer


def settings_of(storage: str) -> Settings:
    return Settings(server=ServerSettings(storage=storage))


def opened(data: Path, storage: str) -> Catalog:
    data.mkdir(exist_ok=True)
    return open_catalog(settings_of(storage), data)


def refusal(data: Path, storage: str) -> str:
    with pytest.raises(SystemExit) as refused:
        opened(data, storage)
    return str(refused.value)


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_the_tables_can_be_in_any_directory(tmp_path: Path, prefix: str) -> None:
    place = tmp_path / "elsewhere"
    lake = Lake.open(opened(tmp_path / "data", f"{prefix}{place}"))
    lake.create("d")
    lake.close()
    assert (place / "d" / "_delta_log").is_dir()
    assert opened(tmp_path / "data", f"{prefix}{place}").names() == ["d"]
    assert f"are at {place}" in refusal(tmp_path / "data", "")
    assert "has the tables of another data directory" in refusal(tmp_path / "other", f"{prefix}{place}")
    assert opened(tmp_path / "third", "").root == tmp_path / "third" / "lake"


@pytest.mark.parametrize("storage", ["tables", "gs://bucket/tables", "file://tables"])
def test_what_is_no_place_is_refused(tmp_path: Path, storage: str) -> None:
    assert "takes an absolute path, file:///path, or s3://bucket/prefix" in refusal(tmp_path, storage)


@pytest.mark.process
def test_a_store_belongs_to_one_data_directory(proxy: Proxy, s3: S3Server, tmp_path: Path) -> None:
    url, data = s3.url(), tmp_path / "data"
    opened(data, f"{url}/")
    opened(data, url)
    assert f"are at {url}" in refusal(data, "")
    assert f"are at {url}, but setting storage says" in refusal(data, s3.url())
    other = tmp_path / "other"
    assert "has the tables of another data directory" in refusal(other, url)
    assert not (other / "storage.json").exists()
    (other / "lake" / "d").mkdir(parents=True)
    assert "has tables in" in refusal(other, s3.url())
    shutil.rmtree(other / "lake")
    object_files.open_s3(url).delete(["_tailrace/owner.json"])
    opened(other, url)


@pytest.mark.process
def test_the_doctor_asks_the_store(proxy: Proxy, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_files, "RETRIES", 0)
    url = s3.url()
    lake = Lake.open(opened(tmp_path, url))
    lake.create("d")
    lake.accept(1, batch([{"n": 1}]))
    lake.close()

    def found(*, verify: bool = False) -> tuple[str, str]:
        settings = replace(SCHEMA.defaults, server=ServerSettings(storage=url, data=tmp_path))
        [finding] = [
            each for each in examine(settings, verify=verify) if each.level == "wrong" or each.subject == "lake"
        ]
        return finding.level, finding.found

    told = f"datasets: 1, in {url}; their files are not read (--verify does), the store verifies them"
    assert found() == ("ok", told)
    whole = "datasets: 1, files: 1, events in tables: 1, every file is what was written"
    assert found(verify=True) == ("ok", whole)
    store = object_files.open_s3(url)
    [name] = [name for name in store.names("d") if name.endswith(".parquet")]
    content = bytearray(store.read(name))
    content[100] ^= 1
    store.write(name, bytes(content))
    assert found(verify=True) == ("wrong", f"{name.rpartition('/')[2]} is damaged: its content is not what was written")
    proxy.fault = lambda *_: "refused"
    assert found() == ("wrong", f"{url}: the object store answers 403 AccessDenied")


def delete(directory: Path) -> None:
    """Delete a directory that a server may be writing to."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


FAULTS: dict[str, Callable[[int, str, str], Fault | None]] = {
    "though the request says If-None-Match": lambda *_: "unconditional",
    "answers 403 AccessDenied": lambda *_: "refused",
    "cannot be reached, or breaks off": lambda *_: "cut",
}


@pytest.mark.process
@pytest.mark.parametrize("words", FAULTS)
def test_a_store_that_cannot_be_used_is_refused(
    proxy: Proxy, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    monkeypatch.setattr(object_files, "RETRIES", 0)
    proxy.fault = FAULTS[words]
    url = s3.url()
    told = refusal(tmp_path / "data", url)
    assert told.startswith(f"tailrace: {url} cannot be used for tables: ")
    assert words in told
    assert "(setting storage)" in told


@pytest.mark.process
def test_a_server_keeps_its_tables_in_a_store(make_server: "MakeServer", proxy: Proxy, s3: S3Server) -> None:
    server = make_server(f"--storage={s3.url()}", "--commit-age-s=0.1").start()
    server.create("logs")
    for n in range(3):
        assert server.ingest("logs", [{"n": n}]).status_code == 200
    server.stop()
    delete(server.data / "cache")
    server.start()
    assert server.ingest("logs", [{"n": 3}]).status_code == 200

    def total() -> list[dict[str, object]]:
        return server.sql("SELECT count(*) AS events, sum(n) AS n FROM logs WHERE n >= 0")

    assert total() == [{"events": 4, "n": 6}]
    answer = server.client.post(
        "/v1/datasets/_apl?format=tabular", json={"apl": "logs | summarize n = sum(n) by kind = tostring(n > 1)"}
    )
    assert answer.status_code == 200
    assert [path for path in contents(server.data / "cache") if path.suffix == ".parquet"]
    delete(server.data / "cache")
    assert total() == [{"events": 4, "n": 6}]
    assert not (server.data / "lake").exists()
