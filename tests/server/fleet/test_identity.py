"""What a node is called, and that it has what a node needs."""

from pathlib import Path
from typing import Any

import pytest
from support.fleet_servers import SECRET

from tailrace.server.fleet.identity import check_settings, host_of, node_name
from tailrace.server.settings import SCHEMA, Settings

WHOLE: dict[str, Any] = {
    "role": "lake",
    "database_url": "postgresql+psycopg://localhost/tailrace",
    "storage": "s3://bucket/tables",
    "log": "s3://bucket/log",
    "fleet_secret": SECRET,
}


def settings_of(**changed: Any) -> Settings:
    return SCHEMA.build(WHOLE | changed)


def test_a_node_has_the_name_of_its_settings_or_one_that_stays(tmp_path: Path) -> None:
    assert node_name(settings_of(node="lake-7"), tmp_path) == "lake-7"
    made = node_name(settings_of(), tmp_path)
    assert made.startswith("lake-")
    assert node_name(settings_of(role="query"), tmp_path) == made

    (tmp_path / "node").write_text("No name")
    with pytest.raises(SystemExit, match="holds no name of a node"):
        node_name(settings_of(), tmp_path)


@pytest.mark.parametrize("name", ["database_url", "storage", "log", "fleet_secret"])
def test_a_node_without_what_all_share_does_not_start(name: str) -> None:
    check_settings(settings_of())
    with pytest.raises(SystemExit, match=rf"role is 'lake'.* {name}:"):
        check_settings(settings_of(**{name: ""}))
    with pytest.raises(SystemExit, match=r"s3://"):
        check_settings(settings_of(storage="/somewhere"))


@pytest.mark.parametrize("named", ["fleet_tls_certificate", "fleet_tls_key", "fleet_tls_ca"])
def test_a_node_that_speaks_tls_to_others_has_a_certificate_and_knows_the_issuers(named: str) -> None:
    check_settings(settings_of(fleet_tls_certificate="node.pem", fleet_tls_ca="ca.pem"))
    with pytest.raises(SystemExit, match=r"fleet_tls_certificate and fleet_tls_ca: .* both"):
        check_settings(settings_of(**{named: "a.pem"}))


def test_a_node_is_one_process() -> None:
    with pytest.raises(SystemExit, match="start more nodes"):
        check_settings(settings_of(workers=2))


def test_the_host_of_a_url_is_in_brackets_where_it_needs_them() -> None:
    assert [host_of(url) for url in ("http://a:1", "http://[::1]:2", "https://10.0.0.1:3")] == [
        "a",
        "[::1]",
        "10.0.0.1",
    ]
