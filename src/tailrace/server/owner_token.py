"""The owner's token: created at the first start, and stored in a file for the commands on this machine."""

import logging
import re
import shlex
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from tailrace.access import Access
from tailrace.access.tokens import new_secret
from tailrace.storage.files import read_bytes, replace_durably

ROOT_TOKEN = re.compile(rb"xapt-[!-~]+")

logger = logging.getLogger(__name__)


class OwnerToken(Struct, frozen=True):
    """The owner's token as the banner shows it."""

    notice: str  # where it is, or the token itself at the first start
    shell: str  # a shell expression for it


def ensure_owner_token(access: Access, file: Path, given: str) -> OwnerToken:
    """Make sure that the owner has a token, stored in a file unless it is the setting root_token."""
    if given:
        access.bootstrap(given)
        if _stored_token(file) not in ("", given):
            file.unlink()  # a former token, which no longer works
        notice = "the one given as root_token; for the lines below: export TAILRACE_TOKEN=…"
        return OwnerToken(notice, "$TAILRACE_TOKEN")
    stored = OwnerToken(f"kept in {file}", f"$(cat {shlex.quote(str(file))})")
    if access.has_owner():
        if _stored_token(file):
            return stored
        logger.warning("%s holds no token: set root_token (TAILRACE_ROOT_TOKEN) to have a new one", file)
        return replace(stored, notice=f"not kept: {file} is missing or damaged; set root_token to have a new one")
    # In the file first: the database has only its hash, from which nobody could recover it after a crash.
    secret = _stored_token(file) or new_secret("personal")
    replace_durably(file, secret.encode() + b"\n")
    access.bootstrap(secret)
    return replace(stored, notice=f"{secret} (shown this once, kept in {file})")


def _stored_token(file: Path) -> str:
    """Return the token in a file, empty where there is no valid one."""
    text = (read_bytes(file) or b"").strip()
    return text.decode() if ROOT_TOKEN.fullmatch(text) else ""
