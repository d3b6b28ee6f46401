"""Where a setting comes from, and what is refused."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from msgspec import Meta, Struct
from msgspec.structs import replace

from tailrace.config import ConfigError, Schema, environment_variable, flag
from tailrace.config import load as load_with
from tailrace.server.settings import SCHEMA, ServerSettings, Settings

SETTINGS = SCHEMA.settings


def load(
    config_file: Path | None, flags: dict[str, object], environ: dict[str, str]
) -> tuple[Settings, dict[str, str]]:
    return load_with(config_file, flags, environ, SCHEMA)


def toml(directory: Path, text: str) -> Path:
    path = directory / "tailrace.toml"
    path.write_text(text)
    return path


def refused(config_file: Path | None, flags: dict[str, object], environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load(config_file, flags, environ)
    return str(error.value).splitlines()


def test_without_anything_given_every_setting_has_its_default() -> None:
    settings, origins = load(None, {}, {})
    assert settings == SCHEMA.defaults
    assert replace(settings, protocols={}, doors={}) == Settings()
    assert set(origins) == set(SETTINGS)
    assert set(origins.values()) == {"default"}


def test_each_place_wins_over_the_ones_before_it(tmp_path: Path) -> None:
    path = toml(tmp_path, "port = 1\nmax_events = 1\nmax_depth = 1\n")
    environ = {"TAILRACE_MAX_EVENTS": "2", "TAILRACE_MAX_DEPTH": "2"}
    settings, origins = load(path, {"max_depth": "3"}, environ)
    assert (settings.server.host, settings.server.port, settings.parsing.max_events, settings.parsing.max_depth) == (
        "127.0.0.1",
        1,
        2,
        3,
    )
    assert [origins[name] for name in ("host", "port", "max_events", "max_depth")] == [
        "default",
        f"file {path}",
        "environment TAILRACE_MAX_EVENTS",
        "flag --max-depth",
    ]


def test_a_flag_that_is_none_is_not_given() -> None:
    settings, origins = load(None, {"port": None}, {})
    assert settings.server.port == 8080
    assert origins["port"] == "default"


def test_a_flag_is_not_empty_where_a_text_may_not_be() -> None:
    names = [name for name in SETTINGS if SETTINGS[name].accepted == "text that is not empty"]
    assert {"data", "host"} <= set(names)
    for name in names:
        assert refused(None, {name: ""}, {}) == [
            f"setting {name} (flag {flag(name)}): '' is not accepted; it takes text that is not empty"
        ]


def test_an_empty_variable_is_not_given() -> None:
    assert load(None, {}, {"TAILRACE_PORT": ""})[0].server.port == 8080


def test_sizes_and_times_take_units_in_every_place(tmp_path: Path) -> None:
    path = toml(tmp_path, 'commit_bytes = "1MiB"\ncommit_age_s = "1m"\n')
    settings, _ = load(path, {"query_timeout_s": "500ms"}, {"TAILRACE_MAX_BODY_BYTES": "1 MB"})
    assert settings.lake.commit_bytes == 1024**2
    assert settings.lake.commit_age_s == 60
    assert settings.query.timeout_s == 0.5
    assert settings.parsing.max_body_bytes == 1_000_000


def test_an_unknown_key_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    path = toml(tmp_path, "comit_bytes = 1\n")
    assert refused(path, {}, {}) == [f"unknown setting 'comit_bytes' in file {path}; did you mean commit_bytes?"]


def test_a_setting_of_an_earlier_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = toml(tmp_path, 'access_url = "postgresql+psycopg://host/name"')

    for lines in (
        refused(path, {}, {}),
        refused(None, {}, {"TAILRACE_ACCESS_URL": "postgresql+psycopg://host/name"}),
        refused(None, {"access_url": "postgresql+psycopg://host/name"}, {}),
    ):
        (line,) = lines
        assert "name it by database_url" in line


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    assert refused(None, {}, {"TAILRACE_PROT": "1", "HOME": "/"}) == [
        "unknown environment variable TAILRACE_PROT; did you mean TAILRACE_PORT?"
    ]


def test_a_prefix_that_all_names_have_makes_none_of_them_near() -> None:
    assert refused(None, {}, {"TAILRACE_FOO": "1"}) == ["unknown environment variable TAILRACE_FOO"]


def test_the_variables_of_the_client_are_not_settings() -> None:
    load(None, {}, {"TAILRACE_URL": "http://localhost", "TAILRACE_TOKEN": "x", "TAILRACE_CONFIG": "f"})


def test_every_wrong_value_is_named_with_its_origin_and_what_is_accepted(tmp_path: Path) -> None:
    path = toml(tmp_path, "port = 65536\n")
    lines = refused(path, {"log_level": "loud"}, {"TAILRACE_COMMIT_AGE_S": "0"})
    assert lines == [
        f"setting port (file {path}): 65536 is not accepted; it takes a whole number, at least 0 and at most 65535",
        "setting log_level (flag --log-level): 'loud' is not accepted; it takes debug, info, warning or error",
        "setting commit_age_s (environment TAILRACE_COMMIT_AGE_S): '0' is not accepted; "
        "it takes a time in seconds or such as 30s or 5m, more than 0 and at most 86400",
    ]


def test_a_refused_secret_is_not_repeated() -> None:
    (line,) = refused(None, {}, {"TAILRACE_ROOT_TOKEN": "hunter2 "})
    assert "hunter2" not in line
    assert "xapt-" in line


def test_a_secret_is_never_shown() -> None:
    settings = SCHEMA.build({"root_token": "xapt-hunter2", "smtp_password": "hunter2"})
    assert "hunter2" not in repr(settings)
    assert "mail" in repr(settings)
    assert SETTINGS["root_token"].shown(settings.server.root_token) == "set"
    assert SETTINGS["root_token"].shown("") == "not set"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (line,) = refused(tmp_path / "absent.toml", {}, {})
    assert "absent.toml: No such file or directory" in line


@pytest.mark.parametrize("text", [b"port = ", b"port = '\xff'"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(text)
    (line,) = refused(path, {}, {})
    assert "bad.toml is not valid TOML" in line


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        Settings().server.port = 1  # type: ignore[misc]


def test_building_settings_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_PORT", "9")
    monkeypatch.setenv("PORT", "9")
    assert ServerSettings().port == 8080


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_says_what_it_means_and_takes_its_own_default_as_text(name: str) -> None:
    assert SETTINGS[name].description.endswith((".", "`"))
    default = SETTINGS[name].default
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    if text:
        by_flag, _ = load(None, {name: text}, {})
        by_variable, _ = load(None, {}, {environment_variable(name): SETTINGS[name].shown(default)})
        assert SCHEMA.value(by_flag, name) == SCHEMA.value(by_variable, name) == default
    assert flag(name).startswith("--")


def test_trusted_proxies_are_addresses_and_networks() -> None:
    settings, _ = load(None, {"trusted_proxies": "127.0.0.1, 10.0.0.0/8,::1"}, {})
    assert settings.server.trusted_proxies == ("127.0.0.1", "10.0.0.0/8", "::1")

    with pytest.raises(ConfigError, match=r"trusted_proxies.*'proxy.example' is not accepted; it takes addresses"):
        load(None, {"trusted_proxies": "proxy.example"}, {})


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("port", "9000", 9000),
        ("port", 9000, 9000),
        ("column_density", "0.5", 0.5),
        ("column_density", 1, 1.0),
        ("outgoing_private", "true", True),
        ("outgoing_private", False, False),
        ("baselime_partial", "202", 202),
        ("axiom_hosts", ["a", "b"], ("a", "b")),
        ("data", "x/y", Path("x/y")),
        ("database_url", "", ""),
    ],
)
def test_a_value_is_read_as_its_type(name: str, value: object, found: object) -> None:
    settings, _ = load(None, {name: value}, {})

    assert SCHEMA.value(settings, name) == found
    assert type(SCHEMA.value(settings, name)) is type(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", True),
        ("port", "80.5"),
        ("port", []),
        ("host", ""),
        ("host", 5),
        ("data", 5),
        ("column_density", True),
        ("column_density", "nan"),
        ("column_density", 1.5),
        ("outgoing_private", "perhaps"),
        ("baselime_partial", 203),
        ("axiom_hosts", [1]),
        ("trusted_proxies", [1.5]),
        ("root_token", "xapt-a\n"),
        ("database_url", "postgres"),
        ("database_url", "sqlite:///a.db"),
        ("max_events", "10MB"),
        ("commit_bytes", "1.5"),
    ],
)
def test_what_is_no_value_of_its_type_or_outside_its_bounds_is_refused(name: str, value: object) -> None:
    (line,) = refused(None, {name: value}, {})

    assert line.startswith(f"setting {name} (flag ")


class ToyOptions(Struct, frozen=True):
    wait_s: Annotated[float, Meta(ge=0, le=60, description="Longest wait.")] = 1.0
    max_body_bytes: Annotated[int, Meta(ge=1, description="Largest body.")] = 1024
    names: Annotated[tuple[str, ...], Meta(description="Names.")] = ()
    mode: Annotated[Literal["a", "b"], Meta(description="Mode.")] = "a"


class Toys(Struct, frozen=True):
    toy: ToyOptions = ToyOptions()
    bare: Annotated[ToyOptions, Meta(extra={"prefix": ""})] = ToyOptions(wait_s=2)
    others: dict[str, Struct] = {}  # which msgspec copies


def test_the_fields_of_structs_in_a_struct_are_settings_by_toml_key_variable_and_flag(tmp_path: Path) -> None:
    schema = Schema(Toys(others={"red": ToyOptions(mode="b")}))
    path = toml(tmp_path, 'wait_s = "3s"\n[toy]\nwait_s = "500ms"\n')

    settings, origins = load_with(
        path, {"toy_names": "x, y"}, {"TAILRACE_TOY_MAX_BODY_BYTES": "2KiB", "TAILRACE_RED_WAIT_S": "9"}, schema
    )

    assert settings == Toys(
        toy=ToyOptions(wait_s=0.5, max_body_bytes=2048, names=("x", "y")),
        bare=ToyOptions(wait_s=3),
        others={"red": ToyOptions(wait_s=9, mode="b")},
    )
    assert (origins["toy_wait_s"], origins["toy_mode"]) == (f"file {path}", "default")
    assert [schema.value(settings, name) for name in ("toy_wait_s", "wait_s", "red_wait_s")] == [0.5, 3, 9]
    assert [schema.settings[name].default for name in ("toy_wait_s", "wait_s", "red_mode")] == [1, 2, "b"]
    with pytest.raises(ConfigError, match=r"toy_wait_s.*'61' is not accepted; .*at least 0 and at most 60"):
        load_with(None, {"toy_wait_s": "61"}, {}, schema)
    with pytest.raises(ConfigError, match=r"toy_mode.*it takes a or b"):
        load_with(None, {"toy_mode": "c"}, {}, schema)


def test_a_field_without_a_description_and_one_that_takes_a_name_twice_are_refused() -> None:
    class Bare(Struct):
        size: int = 1

    class Twins(Struct):
        toy: ToyOptions = ToyOptions()
        toy_mode: Annotated[str, Meta(description="Mode.")] = ""

    with pytest.raises(TypeError, match="size needs"):
        Schema(Bare())
    with pytest.raises(ValueError, match="two settings are called toy_mode"):
        Schema(Twins())
