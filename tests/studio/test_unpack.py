"""Zips of models: what is in them is found, nothing gets out of the folder, no bomb fits."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from engines.base import Cancelled, UserError
from studio import unpack
from studio.unpack import unpacked

MODEL = {"config.json": b"{}", "model.safetensors": b"weights", "deep/vocab.txt": b"a b"}


def _zip(path: Path, files: Mapping[str, bytes], *, squeeze: bool = False) -> Path:
    kind = zipfile.ZIP_DEFLATED if squeeze else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def _unpack(archive: Path, name: str = "a" * 32) -> Path:
    return unpacked(archive, name, archive.parent / "cache", lambda: None)


def _files(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("inside", ["", "a model/", "very/deep/"])
def test_a_model_is_found_at_the_root_or_in_its_folder(tmp_path: Path, inside: str) -> None:
    files = {f"{inside}{name}": content for name, content in MODEL.items()}
    archive = _zip(tmp_path / "tiny.zip", {**files, "__MACOSX/._config.json": b"x"})
    folder = _unpack(archive)
    assert folder.name == "tiny"
    assert _files(folder) == MODEL


def test_it_is_unpacked_once(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "tiny.zip", MODEL)
    folder = _unpack(archive)
    archive.write_bytes(b"")
    assert _unpack(archive) == folder
    assert [path.name for path in (tmp_path / "cache" / "unpacked").iterdir()] == ["a" * 32]


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out.txt", "c:out.txt", ".x"])
def test_no_name_leads_out(tmp_path: Path, name: str) -> None:
    archive = _zip(tmp_path / "tiny.zip", {**MODEL, name: b"out"})
    assert _files(_unpack(archive)) == MODEL
    assert not list(tmp_path.rglob("out.txt"))


def test_links_stay_behind(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "tiny.zip", MODEL)
    link = zipfile.ZipInfo("passwd")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(link, "/etc/passwd")
    assert _files(_unpack(archive)) == MODEL


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"weights.bin": b"x"}, "There is no model in tiny.zip"),
        ({"a/config.json": b"{}", "b/config.json": b"{}"}, "tiny.zip holds more than one model"),
    ],
)
def test_what_holds_no_model_is_refused(
    tmp_path: Path, files: Mapping[str, bytes], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        _unpack(_zip(tmp_path / "tiny.zip", files))
    assert not list((tmp_path / "cache").rglob("*.json"))


def test_a_file_that_is_no_zip_or_ends_early_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "tiny.zip"
    archive.write_bytes(b"these are no bytes of a zip")
    with pytest.raises(UserError, match="cannot be unpacked"):
        _unpack(archive)
    _zip(archive, {**MODEL, "model.safetensors": b"w" * 5000})
    spoiled = bytearray(archive.read_bytes())
    at = spoiled.index(b"w" * 100)
    spoiled[at : at + 10] = b"x" * 10
    archive.write_bytes(spoiled)
    with pytest.raises(UserError, match="cannot be unpacked"):
        _unpack(archive)
    assert not list((tmp_path / "cache" / "unpacked").iterdir())


def test_a_bomb_and_a_model_larger_than_the_disk_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = _zip(tmp_path / "tiny.zip", {**MODEL, "b": b"\0" * (1 << 20)}, squeeze=True)
    monkeypatch.setattr(unpack, "_ANYHOW", 1000)
    with pytest.raises(UserError, match="would grow to"):
        _unpack(bomb)
    monkeypatch.setattr(unpack, "_SPARE", 1 << 60)
    with pytest.raises(UserError, match="which the disk does not have"):
        _unpack(_zip(tmp_path / "other.zip", MODEL))


def test_a_stop_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "tiny.zip", MODEL)
    pieces: list[float] = []

    def stop() -> None:
        if pieces:
            raise Cancelled

    with pytest.raises(Cancelled):
        unpacked(archive, "b", tmp_path / "cache", stop, lambda done, total: pieces.append(done))
    assert not list((tmp_path / "cache" / "unpacked").iterdir())
