"""A session from elsewhere, or a copy of one: new ids, files checked, all of it or nothing.

A zip is read as anything that a stranger may have made. Only members that `session.json` names are
read, each into a place that is ours by a name made safe, so nothing leads out; nothing is written
beyond the size that the archive states, and that is weighed against archive and disk beforehand.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pydantic import ValidationError

from db.schema import new_id
from engines.base import UserError
from engines.weights import sha256_of
from studio.folders import content
from studio.jobs.store_bundle import Placed
from studio.jobs.views import SessionView
from studio.library import IMPORTS
from studio.library.bundle import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST,
    RESULTS,
    FileEntry,
    SessionFile,
)
from studio.library.pack import pack
from studio.unpack import BROKEN_ZIP
from studio.workspace import (
    free_name,
    printable,
    remove_tree,
    safe_name,
    sync_tree,
    uploads_lock,
)

if TYPE_CHECKING:
    from studio.jobs.service import Studio

_LARGEST = 64 << 20  # bytes of session.json
_MOST = 200_000  # members
_SWELLS, _ANYHOW = 20, 256 << 20  # an archive may hold so many times its size, or so many bytes
_SPARE = 1 << 30  # bytes of the disk that stay free
_PIECE = 1 << 20

Fetch = Callable[[FileEntry, Path], None]
Keep = Callable[[FileEntry], Path | None]


def import_session(studio: Studio, owner: str, archive: Path, name: str = "") -> SessionView:
    """Make a session of an exported zip.

    Raises:
        UserError: it is no session, was changed or cut short, or does not fit on the disk.
    """
    named = printable(archive.name)
    try:
        with zipfile.ZipFile(archive) as packed:
            members = {info.filename: info for info in packed.infolist()}
            manifest = _manifest(packed, members, named)
            _refuse_bombs(archive, members, studio.settings.home, named)
            _refuse_too_much(
                studio, owner, manifest, sum(info.file_size for info in members.values())
            )
            return _restore(
                studio, owner, manifest, name or manifest.name, _from_zip(packed, members, named)
            )
    except BROKEN_ZIP as error:
        raise UserError(f"{named} is no whole zip archive; export the session again") from error
    except OSError as error:
        raise UserError(
            f"{named} could not be unpacked ({error.strerror}); free some disk space"
        ) from error


def duplicate_session(studio: Studio, owner: str, session_id: str, name: str = "") -> SessionView:
    """A copy of a session: its results are its own, files of yours are named where they are.

    Raises:
        NotFound: it is not the owner's.
        UserError: the disk is full.
    """
    packed = pack(studio, owner, session_id)
    files = [file for job in packed.manifest.jobs for file in job.files]
    _refuse_too_much(studio, owner, packed.manifest, sum(file.bytes for file in files))
    uploads = studio.settings.uploads

    def keep(entry: FileEntry) -> Path | None:
        source = packed.sources.get(entry.stored)
        made = entry.role != "input" or entry.stored.startswith(RESULTS)
        return None if made or source is None or source.is_relative_to(uploads) else source

    def fetch(entry: FileEntry, target: Path) -> None:
        _copy(packed.sources[entry.stored], target)

    try:
        return _restore(
            studio, owner, packed.manifest, name or _copy_name(packed.session.name), fetch, keep
        )
    except OSError as error:
        raise UserError(
            f"The session could not be copied ({error.strerror}); free some disk space"
        ) from error


def _copy_name(name: str) -> str:
    return f"{name[:190]} (copy)"


def _copy(source: Path, target: Path) -> None:
    """Files are never changed once they are there, so a copy may be a second name of one."""
    if source.is_dir():
        shutil.copytree(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _nowhere(_entry: FileEntry) -> Path | None:
    return None


def _restore(
    studio: Studio,
    owner: str,
    manifest: SessionFile,
    name: str,
    fetch: Fetch,
    keep: Keep = _nowhere,
) -> SessionView:
    """Put files into a folder of their own, then in their places, then the rows."""
    settings = studio.settings
    session_id = new_id()
    outputs, uploads = settings.outputs / session_id, settings.uploads / session_id
    with _staging(settings.cache / IMPORTS) as staging:
        places = _Places(staging, outputs, uploads, fetch, keep)
        batches: dict[int, str] = {}
        jobs: list[Placed] = []
        for entry in manifest.jobs:
            job_id = new_id()
            paths = [places.place(file, job_id) for file in entry.files]
            batch = None if entry.batch is None else batches.setdefault(entry.batch, new_id())
            parent = None if entry.parent is None else jobs[entry.parent].id
            jobs.append(Placed(job_id, batch, entry, paths, parent))
        sync_tree(staging)
        with uploads_lock(settings.uploads):
            try:
                for made, final in ((places.outputs, outputs), (places.uploads, uploads)):
                    if made.is_dir():
                        shutil.move(made, final)
                return studio.store.put_session(owner, session_id, name[:200], jobs)
            except BaseException:
                remove_tree(outputs)
                remove_tree(uploads)
                raise


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    staging = folder / secrets.token_hex(8)
    staging.mkdir(parents=True)
    try:
        yield staging
    finally:
        remove_tree(staging)


class _Places:
    """Where each file of a session goes; an input that several jobs take is there once."""

    def __init__(
        self, staging: Path, outputs: Path, uploads: Path, fetch: Fetch, keep: Keep
    ) -> None:
        self.outputs, self.uploads = staging / "outputs", staging / "uploads"
        self._final = {self.outputs: outputs, self.uploads: uploads}
        self._fetch, self._keep = fetch, keep
        self._there: dict[str, Path] = {}  # `stored` -> where it will be

    def place(self, entry: FileEntry, job_id: str) -> Path:
        """Fetch a file; returns where it will be. One that was gone gets a path without a file."""
        kept = self._keep(entry)
        if kept is not None:
            return kept
        if entry.role != "input":
            return self._put(self.outputs, job_id, entry)
        # What several jobs take, or a step before has made, is there once.
        known = self._there.get(entry.stored)
        return known or self._put(self.uploads, secrets.token_hex(8), entry)

    def _put(self, room: Path, folder: str, entry: FileEntry) -> Path:
        place = room / folder
        place.mkdir(parents=True, exist_ok=True)
        target = free_name(place, safe_name(entry.name), set(), suffixed=not entry.folder)
        final = self._final[room] / folder / target.name
        if entry.stored:
            self._fetch(entry, target)
            self._there[entry.stored] = final
        return final


# Out of a zip


def _manifest(
    packed: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], named: str
) -> SessionFile:
    info = members.get(MANIFEST)
    if info is None or info.file_size > _LARGEST or len(members) > _MOST:
        raise UserError(f"{named} is no session of Noise Studio; export one with Export")
    try:
        with packed.open(info) as file:
            return read_manifest(file.read(_LARGEST), named)
    except zipfile.BadZipFile as error:
        raise UserError(f"{named} was changed or cut short; export the session again") from error


def read_manifest(text: bytes, named: str) -> SessionFile:
    """`session.json`, every value checked.

    Raises:
        UserError: it is none, is of a newer studio, or holds what no session holds.
    """
    try:
        return SessionFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("version",) and isinstance(first["input"], int):
            raise UserError(
                f"{named} was exported by a newer Noise Studio (format {first['input']}, here is "
                f"{FORMAT_VERSION}); update the studio"
            ) from error
        where = ".".join(str(part) for part in first["loc"]) or FORMAT
        raise UserError(
            f"{named} is no session that can be read ({where}: {first['msg']})"
        ) from error


def _refuse_bombs(
    archive: Path, members: dict[str, zipfile.ZipInfo], home: Path, named: str
) -> None:
    total = sum(info.file_size for info in members.values())
    if total > max(_ANYHOW, _SWELLS * archive.stat().st_size):
        raise UserError(f"{named} would grow to {total / 1e9:.1f} GB; export the session again")
    if total > shutil.disk_usage(home).free - _SPARE:
        raise UserError(
            f"{named} needs {total / 1e9:.1f} GB, which the disk does not have; free some"
        )


def _refuse_too_much(studio: Studio, owner: str, manifest: SessionFile, total: int) -> None:
    """A visitor keeps no more than visitors may, whichever way it comes."""
    limits = studio.limits
    if not limits.applies(owner):
        return
    limits.check_sessions(owner, len(studio.sessions(owner)), len(manifest.jobs))
    if total > limits.room(owner, studio.storage(owner)):
        limits.refuse_bytes()


def _from_zip(packed: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], named: str) -> Fetch:
    def fetch(entry: FileEntry, target: Path) -> None:
        if not entry.folder:
            _extract(packed, members.get(entry.stored), target, named)
            if entry.sha256 and sha256_of(target) != entry.sha256:
                raise UserError(f"{entry.name} in {named} is not what it was; export it again")
            return
        start = f"{entry.stored}/"
        target.mkdir()
        for name, info in members.items():
            if name.startswith(start) and not info.is_dir():
                place = target.joinpath(*_inside(name.removeprefix(start), named))
                place.parent.mkdir(parents=True, exist_ok=True)
                _extract(packed, info, place, named)
        if entry.role == "output" and content(target, _never)[0] != entry.sha256:
            raise UserError(f"{entry.name} in {named} is not what it was; export it again")

    return fetch


def _extract(
    packed: zipfile.ZipFile, info: zipfile.ZipInfo | None, target: Path, named: str
) -> None:
    if info is None or stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        raise UserError(f"{target.name} is missing in {named}; export the session again")
    try:
        with packed.open(info) as source, target.open("xb") as file:
            left = info.file_size
            while piece := source.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise zipfile.BadZipFile("longer than it says")
                file.write(piece)
    except FileExistsError as error:
        raise UserError(f"{named} holds {target.name} twice; export the session again") from error


def _inside(name: str, named: str) -> tuple[str, ...]:
    """Parts of a path inside a folder, none of which leads out of it.

    Raises:
        UserError: one does.
    """
    parts = PurePosixPath(name).parts
    strange = name.startswith("/") or any(letter in name for letter in "\\:\0")
    if not parts or strange or any(part.startswith(".") for part in parts):
        raise UserError(f"{named} holds a file whose name leads elsewhere; export it again")
    return parts


def _never() -> None:
    """Nobody cancels this."""
