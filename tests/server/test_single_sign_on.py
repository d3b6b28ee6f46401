"""The settings of single sign-on: which are refused, and that it costs nothing where there is none."""

import subprocess
import sys
from typing import Any

import pytest

from tailrace.access.console_settings import ConsoleSettings
from tailrace.config import ConfigError, load
from tailrace.oidc.settings import OidcSettings
from tailrace.server.settings import SCHEMA, Settings
from tailrace.server.single_sign_on import single_sign_on

ISSUER = "https://id.example"


def settings(*, is_console: bool = True, **oidc: Any) -> Settings:
    return Settings(console=ConsoleSettings(enabled=is_console), oidc=OidcSettings(**oidc))


def test_single_sign_on_takes_an_issuer_and_a_console() -> None:
    assert single_sign_on(settings()) is None
    assert single_sign_on(settings(issuer=ISSUER, is_console=False)) is None


@pytest.mark.parametrize(
    ("oidc", "words"),
    [
        ({}, "oidc_client_id"),
        ({"client_id": "tailrace", "scopes": ("email",)}, "oidc_scopes lacks openid"),
    ],
)
def test_what_is_missing_is_said_and_no_server_starts(oidc: dict[str, Any], words: str) -> None:
    with pytest.raises(SystemExit, match=words):
        single_sign_on(settings(issuer=ISSUER, **oidc))


def test_a_package_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("tailrace.oidc.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "authlib.oidc.core", None)
    with pytest.raises(SystemExit, match=r"package authlib.*pip install tailrace\[oidc\]"):
        single_sign_on(settings(issuer=ISSUER, client_id="tailrace"))


@pytest.mark.parametrize(
    ("issuer", "is_good"),
    [
        (ISSUER, True),
        ("https://id.example/realms/a", True),
        ("http://127.0.0.1:5556/dex", True),
        ("http://localhost", True),
        ("http://[::1]:80", True),
        ("http://id.example", False),
        ("http://127.0.0.1.example", False),
        ("http://localhost@id.example", False),
        ("id.example", False),
        ("javascript:alert(1)", False),
    ],
)
def test_an_issuer_is_asked_over_https_or_on_this_machine(issuer: str, is_good: bool) -> None:
    environ = {"TAILRACE_OIDC_ISSUER": issuer}
    if is_good:
        assert load(None, {}, environ, SCHEMA)[0].oidc.issuer == issuer
    else:
        with pytest.raises(ConfigError, match="oidc_issuer"):
            load(None, {}, environ, SCHEMA)


def test_the_secret_is_not_shown() -> None:
    assert "hidden" not in repr(OidcSettings(client_secret="hidden"))


def test_a_server_without_it_does_not_load_its_libraries() -> None:
    code = "import sys, tailrace.server.build; print([n for n in ('authlib', 'joserfc', 'httpx') if n in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
