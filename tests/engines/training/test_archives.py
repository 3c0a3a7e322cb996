"""Sounds out of games' archives, each made here byte by byte."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from engines.base import UserError
from engines.training.labelled.archives import is_archive, members, unpacked

_RIFF = b"RIFF" + struct.pack("<I", 8) + b"WAVEdata"


def _catalogue() -> bytes:
    body = bytes([12]) + b'"Moo". By A\0' + _RIFF
    return struct.pack("<IIII", 16, len(body), (16 + len(body)) | 0x80000000, len(body)) + 2 * body


def _resource() -> bytes:
    """sounds/dog.ogg as it is, and sounds/cat.ogg compressed."""
    names, offsets = b"", []
    for name in ("sounds", "dog.ogg", "cat.ogg"):
        offsets.append(len(names))
        names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
    packed = struct.pack(">I", 3) + zlib.compress(b"cat")
    data = struct.pack(">I", 3) + b"dog" + struct.pack(">I", len(packed)) + packed
    time = struct.pack(">Q", 0)
    tree = struct.pack(">IHII", 0, 2, 1, 1) + time
    tree += struct.pack(">IHII", offsets[0], 2, 2, 2) + time
    tree += struct.pack(">IHHHI", offsets[1], 0, 0, 0, 0) + time
    tree += struct.pack(">IHHHI", offsets[2], 1, 0, 0, 7) + time
    places = (20, 20 + len(tree), 20 + len(tree) + len(data))
    head = struct.pack(">4sIIII", b"qres", 3, places[0], places[1], places[2])
    return head + tree + data + names


def _group(entries: list[tuple[str, bytes, bool]]) -> bytes:
    head = bytearray(204)
    head[:25] = b"RedWolf Design GrpFolder\0"
    struct.pack_into("<I", head, 36, len(entries))
    for place in range(0, 202, 3):
        head[place], head[place + 2] = head[place + 2], head[place]
    table, bodies = b"", b""
    for name, body, child in entries:
        table += name.encode().ljust(260, b"\0")
        table += struct.pack("<5i", 1, int(child), len(body), 0, len(bodies)).ljust(56, b"\0")
        bodies += body
    return bytes(byte ^ 237 for byte in head) + table + bodies


def _packed(data: bytes) -> bytes:
    return b"\x1e\x8c" + gzip.compress(data)[2:]


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_catalogue_of_openttd(tmp_path: Path) -> None:
    found = list(members(_write(tmp_path / "sounds.cat", _catalogue())))
    assert found == [("00 Moo.wav", _RIFF), ("01 Moo.wav", _RIFF)]


def test_a_qt_resource_file(tmp_path: Path) -> None:
    found = dict(members(_write(tmp_path / "a.rcc", _resource())))
    assert found == {"sounds/dog.ogg": b"dog", "sounds/cat.ogg": b"cat"}


def test_a_group_within_a_group_of_openclonk(tmp_path: Path) -> None:
    inner = _group([("Chirp.wav", b"chirp", False)])
    whole = _packed(_group([("Bat.ocg", inner, True), ("Ding.ogg", b"ding", False)]))
    found = dict(members(_write(tmp_path / "Sound.ocg", whole)))
    assert found == {"Bat.ocg/Chirp.wav": b"chirp", "Ding.ogg": b"ding"}


def test_only_sounds_are_unpacked_and_nothing_leaves_the_folder(tmp_path: Path) -> None:
    archive = tmp_path / "0snd.pk3"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("sound/fire.ogg", b"fire")
        file.writestr("../../evil.ogg", b"evil")
        file.writestr("readme.txt", b"text")
    assert is_archive(archive)
    place = unpacked(archive, tmp_path / "cache")
    names = sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())
    assert names == ["evil.ogg", "sound/fire.ogg"]
    assert not list(tmp_path.glob("*.ogg"))
    (place / "sound/fire.ogg").unlink()
    assert unpacked(archive, tmp_path / "cache") == place  # it is not unpacked again
    assert not (place / "sound/fire.ogg").exists()


@pytest.mark.parametrize("name", ["a.cat", "a.rcc", "a.ocg", "a.pk3"])
def test_a_damaged_archive_is_named(tmp_path: Path, name: str) -> None:
    broken = {"a.cat": _catalogue()[:30], "a.rcc": _resource()[:60]}.get(name, b"PK damaged")
    with pytest.raises(UserError, match=f"{name} is damaged"):
        unpacked(_write(tmp_path / name, broken), tmp_path / "cache")
    assert not (tmp_path / "cache" / name).exists()


def test_a_folder_that_is_called_as_an_archive_is_none(tmp_path: Path) -> None:
    (tmp_path / "Music.ocg").mkdir()
    assert not is_archive(tmp_path / "Music.ocg")
