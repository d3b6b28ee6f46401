"""deploy/tailrace.service: systemd takes it, and what it starts runs and stops as it says."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Server

from tailrace.server.settings import ServerSettings

UNIT = Path(__file__).parents[2] / "deploy" / "tailrace.service"
PROGRAM = "/opt/tailrace/bin/tailrace"


class Sections(configparser.ConfigParser):
    """A unit's sections, with the case of its names."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def service() -> configparser.SectionProxy:
    unit = Sections(interpolation=None)
    unit.read_string(UNIT.read_text())
    return unit["Service"]


class Started(Server):
    """A server that is started as the unit starts it."""

    def launch_arguments(self) -> list[str]:
        program, *arguments = service()["ExecStart"].split()
        assert program == PROGRAM
        return [str(Path(sys.executable).parent / "tailrace"), *arguments]


@pytest.mark.process
def test_systemd_finds_no_fault_with_it(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not on this machine")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, sys.executable))

    done = subprocess.run([verify, "verify", str(unit)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_what_it_starts_serves_from_its_directory_and_stops_when_asked(tmp_path: Path) -> None:
    given = dict(word.split("=", 1) for word in service()["Environment"].split())
    assert given["TAILRACE_DATA"] == f"/var/lib/{service()['StateDirectory']}"

    server = Started(tmp_path / "data", env={**given, "TAILRACE_DATA": str(tmp_path / "data"), "TAILRACE_PORT": "0"})

    assert server.start().stop() == 0


def test_it_waits_longer_for_the_end_than_the_server_takes() -> None:
    assert int(service()["TimeoutStopSec"].removesuffix("s")) >= 2 * ServerSettings().shutdown_grace_s
