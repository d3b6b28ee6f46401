"""`tailrace backup` and `restore`: a copy of everything that a running server has, and a data directory made of one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import httpx
import msgspec
import typer
from rich.filesize import decimal

from tailrace.cli.client import ServerChoice, check, message_of, quoted, server_command, unreachable
from tailrace.cli.errors import FAILED, CommandError
from tailrace.cli.output import counted, print_table
from tailrace.cli.places import place_errors, place_of
from tailrace.cli.transfer import transfer_progress

if TYPE_CHECKING:
    from tailrace.backup.content import BackupBegun, BackupListing
    from tailrace.backup.manifest import Manifest
    from tailrace.backup.place import BackupPlace

T = TypeVar("T")

PATH = "/tailrace/v1/backups"
TRIES_AGAIN = "run it again: what is copied is not copied again"


class HttpSource:
    """A running server, as a backup is copied off it. Thread-safe."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def begin(self) -> "BackupBegun":
        """Begin a backup."""
        from tailrace.backup.content import BackupBegun

        return self._asked("POST", PATH, BackupBegun)

    def listing(self, backup_id: str, dataset: str) -> "BackupListing":
        """Return the files of a dataset."""
        from tailrace.backup.content import BackupListing

        return self._asked("GET", f"{PATH}/{quoted(backup_id)}/datasets/{quoted(dataset)}", BackupListing)

    @contextmanager
    def content(self, backup_id: str, dataset: str, name: str) -> Iterator[Iterator[bytes]]:
        """Yield the content of a file."""
        from tailrace.backup.saving import SourceBroken

        params = {"name": name, **({"dataset": dataset} if dataset else {})}
        try:
            with self._client.stream("GET", f"{PATH}/{quoted(backup_id)}/content", params=params) as answer:
                if not answer.is_success:
                    answer.read()
                    self._refuse(answer)
                yield answer.iter_bytes()
        except httpx.TransportError as error:
            raise SourceBroken(f"{unreachable(self._client, error)}; {TRIES_AGAIN}") from error

    def end(self, backup_id: str) -> None:
        """End the backup; where that cannot be said, it ends by itself."""
        with suppress(httpx.HTTPError):
            self._client.delete(f"{PATH}/{quoted(backup_id)}")

    def _asked(self, method: str, path: str, kind: type[T]) -> T:
        try:
            answer = self._client.request(method, path)
        except httpx.TransportError as error:
            raise CommandError(f"{unreachable(self._client, error)}; {TRIES_AGAIN}") from error
        self._refuse(answer)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.MsgspecError as error:
            raise CommandError(f"the server's answer is not that of a Tailrace server: {error}") from error

    def _refuse(self, answer: httpx.Response) -> None:
        from tailrace.backup.saving import SourceDropped, SourceUnreadable

        if answer.status_code == httpx.codes.CONFLICT and answer.request.method == "GET":
            raise SourceDropped(message_of(answer))
        if answer.status_code == httpx.codes.GONE:
            raise SourceUnreadable(message_of(answer))
        check(self._client, answer)


@server_command
def backup(
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A directory, or s3://bucket/prefix; earlier backups in it stay.")
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Read what TARGET has already too, and copy again what is damaged.")
    ] = False,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=1, metavar="N", help="Then delete all but the newest N backups of a directory."),
    ] = None,
    *,
    server: ServerChoice,
) -> None:
    """Copy everything that a running server has acknowledged to a place of backups, while it goes on.

    What the place has from earlier backups, or from one that was stopped, is not copied again. The token needs the
    capability server:backup; with it, everything that the server has can be read. A place in an object store is reached
    as AWS_… variables say. The exit code is 1 where something could not be copied.

    Examples:

      tailrace backup /mnt/backups/tailrace

      TAILRACE_URL=https://events.example.com TAILRACE_TOKEN=xaat-… tailrace backup s3://backups/tailrace
    """
    from tailrace.backup.saving import save

    place = place_of(target)
    if keep is not None:
        _check_prunable(place)
    with server.connect() as client, transfer_progress() as progress, _words(place):
        manifest = save(HttpSource(client), place, progress, verify=verify)
    print(f"{manifest.id}: {_told(manifest)}; {counted(progress.copied, 'file')} copied")
    if not manifest.has_database:
        typer.echo("the database (users, tokens, dashboards) is on PostgreSQL: back it up by pg_dump", err=True)
    for each in manifest.left_out:
        progress.warn(f"dataset {each.name!r} is not in the backup: {each.reason}")
    for saved in manifest.datasets:
        if saved.dataset.fault:
            progress.warn(f"the latest events of {saved.dataset.name!r} are not in the backup: {saved.dataset.fault}")
    if not manifest.is_complete:  # an earlier one may have what it lacks
        if keep is not None:
            progress.warn("no earlier backup is deleted, as this one is not complete")
        raise typer.Exit(FAILED)
    if keep is not None:
        _prune(place, keep)


def _check_prunable(place: "BackupPlace") -> None:
    from tailrace.backup.place import DirectoryPlace

    if not isinstance(place, DirectoryPlace):
        raise typer.BadParameter(
            "it is for directories: in an object store another backup could be written meanwhile, unnoticed",
            param_hint="--keep",
        )


def _prune(place: "BackupPlace", keep: int) -> None:
    from tailrace.backup.place import DirectoryPlace
    from tailrace.backup.pruning import prune

    assert isinstance(place, DirectoryPlace)
    with _words(place):
        pruned = prune(place, keep)
    if pruned.backups or pruned.files:
        files = f"{counted(pruned.files, 'file')}, {decimal(pruned.bytes)}"
        print(f"deleted {counted(pruned.backups, 'earlier backup')}: {files}")


class RestoreList(StrEnum):
    """What of a place is told without restoring."""

    BACKUPS = "backups"
    DATASETS = "datasets"


def restore(  # long: its options
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The place of backups: a directory, or s3://….")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The data directory to make; it must be empty.")
    ] = None,
    backup_id: Annotated[
        str | None, typer.Option("--backup", metavar="ID", help="Which backup; default: the newest.")
    ] = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", metavar="NAME", help="Only this dataset; may be given repeatedly.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="TIME", help="Only events that the server took before: RFC 3339, or like -1h."),
    ] = None,
    storage: Annotated[
        str,
        typer.Option(
            "--storage", metavar="URL", help="Where the tables go, as the setting storage; default: into DIR."
        ),
    ] = "",
    partial: Annotated[
        bool, typer.Option("--partial", help="Restore what is sound where files of the backup are damaged.")
    ] = False,
    show: Annotated[
        RestoreList | None, typer.Option("--list", help="List the backups, or the datasets of one; restore nothing.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file of the backup against its hash; restore nothing.")
    ] = False,
) -> None:
    """Make a data directory of a backup, in which `tailrace serve` then has everything that was acknowledged before it.

    A restore that was stopped goes on when it is run again; until it is done no server starts on the directory.

    Examples:

      tailrace restore /mnt/backups/tailrace --data /var/lib/tailrace

      tailrace restore s3://backups/tailrace --data /tmp/looked-at --dataset web --until 2026-05-28T12:00:00Z
    """
    from tailrace.server.restore import RestorePlan, moment_ns

    try:
        until_ns = None if until is None else moment_ns(until)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--until") from error
    place = place_of(source)
    with _words(place):
        if show is RestoreList.BACKUPS:
            _list_backups(place)
            return
        manifest = _chosen(place, data, backup_id, until_ns)
        if show is RestoreList.DATASETS:
            _list_datasets(manifest)
        elif verify:
            _verify(place, manifest)
        elif data is None:
            raise typer.BadParameter("give the directory to restore to", param_hint="--data")
        else:
            _restore(
                place,
                manifest,
                data.absolute(),
                RestorePlan(manifest.id, storage, tuple(sorted(dataset or ())), until_ns),
                partial=partial,
            )


def _restore(place: "BackupPlace", manifest: "Manifest", data: Path, plan: Any, *, partial: bool) -> None:
    from tailrace.server.restore import RestoreRefused
    from tailrace.server.restore import restore as run

    with transfer_progress() as progress:
        try:
            restored = run(place, manifest, data, plan, progress, is_partial=partial)
        except RestoreRefused as error:
            raise CommandError(str(error)) from error
    until = f", {counted(restored.left_out, 'later event')} left out" if plan.until_ns is not None else ""
    print(f"restored {counted(restored.datasets, 'dataset')}, {counted(restored.rows, 'event')}{until}, to {data}")
    if restored.has_token:
        typer.echo("a new token of the owner is in its owner-token; the others are as they were", err=True)
    if not manifest.has_database:
        typer.echo("the database was on PostgreSQL: restore it by pg_restore (setting database_url)", err=True)
    for fault in restored.faults:
        progress.warn(fault)
    if restored.faults:
        raise typer.Exit(FAILED)


def _chosen(place: "BackupPlace", data: Path | None, backup_id: str | None, until_ns: int | None) -> "Manifest":
    """Return the manifest of the backup that is meant."""
    from tailrace.backup.manifest import manifest_names, read_manifest
    from tailrace.server.restore import RestoreRefused, select, unfinished_plan

    names = manifest_names(place)
    try:
        if backup_id is None and data is not None and (begun := unfinished_plan(data)) is not None:
            backup_id = begun.backup
        if backup_id is None and until_ns is not None:
            created = [(each, read_manifest(place, name).created) for each, name in names.items()]
            backup_id = select(created, until_ns)
        if backup_id is None and names:
            backup_id = list(names)[-1]
    except RestoreRefused as error:
        raise CommandError(str(error)) from error
    if backup_id is None:
        raise CommandError(f"{place.url} has no backup that is whole")
    if backup_id not in names:
        raise CommandError(f"{place.url} has no backup {backup_id}: `tailrace restore {place.url} --list backups`")
    return read_manifest(place, names[backup_id])


def _list_backups(place: "BackupPlace") -> None:
    from tailrace.backup.manifest import BackupDamaged, manifest_names, read_manifest

    rows = []
    for backup_id, name in manifest_names(place).items():
        try:
            manifest = read_manifest(place, name)
        except BackupDamaged:
            rows.append([backup_id, "", "", "", "", "damaged"])
            continue
        state = "complete" if manifest.is_complete else "incomplete"
        size = decimal(manifest.bytes)
        rows.append([backup_id, manifest.created, str(len(manifest.datasets)), str(manifest.rows), size, state])
    print_table(["ID", "CREATED", "DATASETS", "EVENTS", "SIZE", "STATE"], rows)


def _list_datasets(manifest: "Manifest") -> None:
    rows = [
        [saved.dataset.name, str(saved.dataset.rows), decimal(sum(file.bytes for file in saved.files))]
        for saved in manifest.datasets
    ]
    print_table(["DATASET", "EVENTS", "SIZE"], rows)


def _verify(place: "BackupPlace", manifest: "Manifest") -> None:
    from tailrace.backup.saving import check_stored

    with transfer_progress() as progress:
        faults = check_stored(place, manifest, progress)
        for fault in faults:
            progress.warn(fault)
    if faults:
        raise typer.Exit(FAILED)
    print(f"{manifest.id}: {_told(manifest)}; every file is what was written")


def _told(manifest: "Manifest") -> str:
    return (
        f"{counted(len(manifest.datasets), 'dataset')}, {counted(manifest.rows, 'event')}, "
        f"{decimal(manifest.bytes)} in {counted(sum(1 for _ in manifest.all_files()), 'file')}"
    )


@contextmanager
def _words(place: "BackupPlace") -> Iterator[None]:
    """Raise what fails as an error in words."""
    from tailrace.backup.manifest import BackupDamaged
    from tailrace.backup.saving import SourceBroken

    try:
        with place_errors(place, TRIES_AGAIN):
            yield
    except (BackupDamaged, SourceBroken, ValueError) as error:
        raise CommandError(str(error)) from error
