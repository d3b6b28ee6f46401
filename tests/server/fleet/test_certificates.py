"""The certificate of a node: one that other nodes would refuse is refused at the start, in words."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.tls import LOCAL, authority, issued, needs_openssl, replace_files

from tailrace.config import ConfigError
from tailrace.fleet.settings import FleetSettings
from tailrace.server.fleet.certificates import NodeCertificates

pytestmark = needs_openssl

HOST = "lake-0.example.com"
EXTENDED = ("-addext", "extendedKeyUsage=serverAuth")


def settings_of(directory: Path, *names: str, options: tuple[str, ...] = ()) -> FleetSettings:
    """Return the settings of a node with a certificate for some names."""
    issuer = authority(directory / "authority")
    certificate, key = issued(directory / "node", issuer, *names, options=options)
    return FleetSettings(fleet_tls_certificate=str(certificate), fleet_tls_key=str(key), fleet_tls_ca=str(issuer[0]))


@pytest.mark.parametrize("host", [HOST, LOCAL, ""])
def test_a_certificate_is_read_again_once_its_files_change(tmp_path: Path, host: str) -> None:
    settings = settings_of(tmp_path, HOST, LOCAL)
    certificates = NodeCertificates(settings, host)

    first = certificates.open()
    assert certificates.changed() is None
    assert certificates.changed(is_asked=True) is None  # as it is the same
    issuer = tmp_path / "authority" / "certificate.pem", tmp_path / "authority" / "key.pem"
    replace_files(
        Path(settings.fleet_tls_certificate),
        Path(settings.fleet_tls_key),
        issued(tmp_path / "new", issuer, HOST, LOCAL),
    )
    second = certificates.changed()

    assert second is not None
    assert second.certificate != first.certificate
    assert second.issuers == first.issuers
    assert 86_400 < second.not_after_s - time.time() <= 2 * 86_400
    assert certificates.changed() is None


def test_the_key_may_be_in_the_file_of_the_certificate(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, HOST)
    certificate, key = Path(settings.fleet_tls_certificate), Path(settings.fleet_tls_key)
    certificate.write_text(key.read_text() + certificate.read_text())

    NodeCertificates(replace(settings, fleet_tls_key=""), HOST).open()


def no_file(settings: FleetSettings) -> FleetSettings:
    return replace(settings, fleet_tls_ca=settings.fleet_tls_ca + ".absent")


def no_issuers(settings: FleetSettings) -> FleetSettings:
    Path(settings.fleet_tls_ca).write_text("nothing of the sort")
    return settings


def other_issuers(settings: FleetSettings) -> FleetSettings:
    other, _ = authority(Path(settings.fleet_tls_ca).parent / "other")
    return replace(settings, fleet_tls_ca=str(other))


def another_key(settings: FleetSettings) -> FleetSettings:
    _, key = authority(Path(settings.fleet_tls_ca).parent / "other")
    shutil.copy(key, settings.fleet_tls_key)
    return settings


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (no_file, r"certificate\.pem\.absent cannot be read: No such file"),
        (no_issuers, r"certificate\.pem has no certificate"),
        (other_issuers, r"other nodes would refuse the certificate: .*issuer"),
        (another_key, r"key values mismatch"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("host", [HOST, ""])
def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path, damage: Callable[[FleetSettings], FleetSettings], reason: str, host: str
) -> None:
    settings = damage(settings_of(tmp_path, HOST))

    with pytest.raises(ConfigError, match=rf"setting fleet_tls_certificate, fleet_tls_key or fleet_tls_ca: .*{reason}"):
        NodeCertificates(settings, host).open()


def test_a_certificate_for_another_host_is_of_use_only_to_a_node_that_others_do_not_reach(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, "elsewhere.example.com")

    NodeCertificates(settings, "").open()
    with pytest.raises(ConfigError, match=rf"would refuse the certificate: .*not valid for '{HOST}'"):
        NodeCertificates(settings, HOST).open()


@pytest.mark.parametrize("host", [HOST, ""])
def test_a_certificate_for_servers_alone_is_refused(tmp_path: Path, host: str) -> None:
    settings = settings_of(tmp_path, HOST, options=EXTENDED)

    with pytest.raises(ConfigError, match=r"would refuse the certificate: .*purpose"):
        NodeCertificates(settings, host).open()
