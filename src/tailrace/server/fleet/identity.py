"""What a node is called, and where others reach it."""

import re
import secrets
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tailrace.server.data_directory import opening, refuse
from tailrace.server.layout import NODE_FILE
from tailrace.server.listener import url_of
from tailrace.server.settings import Settings
from tailrace.storage.files import read_bytes, replace_durably

EVERY_ADDRESS = ("0.0.0.0", "::")
_NAME = re.compile(rb"[a-z0-9-]{1,40}\n?")
_RANDOM_BYTES = 4


def check_settings(settings: Settings) -> None:
    """Raise SystemExit where a node of a fleet cannot run with the settings."""
    server, fleet = settings.server, settings.fleet
    missing = [
        name
        for name, value in (
            ("database_url", server.database_url),
            ("fleet_secret", fleet.fleet_secret),
            ("log", server.log),
            ("storage", server.storage if server.storage.startswith("s3://") else ""),
        )
        if not value
    ]
    if missing:
        refuse(
            f"setting role is {fleet.role!r}, for which all nodes need the same {', '.join(missing)}: a fleet has its "
            "tables and its log in an object store (s3://…), and its users on PostgreSQL"
        )
    if bool(fleet.fleet_tls_certificate) != bool(fleet.fleet_tls_ca) or (
        fleet.fleet_tls_key and not fleet.fleet_tls_certificate
    ):
        refuse(
            "settings fleet_tls_certificate and fleet_tls_ca: nodes that speak TLS to one another need both, the "
            "node's certificate and the issuers of those of all nodes"
        )
    if server.workers > 1:
        refuse(f"setting workers: a node of the role {fleet.role!r} is one process; start more nodes instead")


def node_name(settings: Settings, data: Path) -> str:
    """Return the name of this node; one that the first start makes stays in the data directory."""
    if settings.fleet.node:
        return settings.fleet.node
    file = data / NODE_FILE
    with opening(file):
        known = read_bytes(file)
        if known is None:
            known = f"{settings.fleet.role}-{secrets.token_hex(_RANDOM_BYTES)}".encode()
            replace_durably(file, known + b"\n")
        if not _NAME.fullmatch(known):
            raise ValueError(f"{file} holds no name of a node: remove it to have a new one made")
    return known.strip().decode()


def node_url(settings: Settings, listener: socket.socket, *, is_tls: bool) -> str:
    """Return where other nodes reach this one."""
    if settings.fleet.node_url:
        return settings.fleet.node_url
    host = settings.server.host
    return url_of(socket.gethostname() if host in EVERY_ADDRESS else host, listener, is_tls=is_tls)


def name_of(url: str) -> str:
    """Return the host of a URL, as certificates name it."""
    return urlsplit(url).hostname or ""


def host_of(url: str) -> str:
    """Return the host of a URL, in brackets where it is an IPv6 address."""
    host = name_of(url)
    return f"[{host}]" if ":" in host else host
