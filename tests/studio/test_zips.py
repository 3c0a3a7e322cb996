"""Zips of pictures: each becomes a file of its own, nothing gets out, no bomb fits."""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from engines.base import UserError
from engines.registry import engine_class
from studio import unpack, zips
from studio.commands.run import expand
from studio.config import Settings
from studio.jobs.service import Studio
from studio.sent import add_sent
from studio.tabs.superres import SuperresTab
from studio.zips import kept, opened
from tests.hostile.models import archives
from tests.studio.scenes import inbox_of, scene_of

PNG = (".png",)


def _zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return path


def test_pictures_come_out_with_their_names_and_the_rest_is_told(tmp_path: Path) -> None:
    archive = _zip(
        tmp_path / "trip.zip",
        {
            "day 1/a.png": b"1", "day 2/a.PNG": b"2", "day 1/notes.txt": b"", "b.exe": b"",
            "__MACOSX/._a.png": b"", ".hidden.png": b"", "Thumbs.db": b"",
        },
    )  # fmt: skip
    found = opened(archive, tmp_path / "out", PNG, 1e9)
    names = [path.relative_to(tmp_path / "out").as_posix() for path in found.files]
    assert names == ["day 1/a.png", "day 2/a.PNG"]
    assert [path.read_bytes() for path in found.files] == [b"1", b"2"]
    assert found.said == "Not taken out of trip.zip, as nothing here reads it: notes.txt, b.exe"
    many = _zip(tmp_path / "many.zip", {"a.png": b"1"} | {f"{n}.txt": b"" for n in range(8)})
    assert opened(many, tmp_path / "m", PNG, 1e9).said.endswith("3.txt, 4.txt and 3 more")


@pytest.mark.parametrize(
    "name", ["../out.png", "/tmp/out.png", "a/../../out.png", "C:\\out.png", "..\\out.png"]
)
def test_no_name_leads_out(name: str, tmp_path: Path) -> None:
    archive = _zip(tmp_path / "slip.zip", {"good.png": b"1", name: b"out"})
    found = opened(archive, tmp_path / "a" / "b" / "c", PNG, 1e9)
    assert [path.name for path in found.files] == ["good.png"]
    assert "out.png" in found.said
    assert [path.name for path in tmp_path.rglob("*out.png")] == []


def test_a_link_is_no_picture(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "link.zip", {"good.png": b"1"})
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as packed:
        packed.writestr(link, "/etc/passwd")
    found = opened(archive, tmp_path / "out", PNG, 1e9)
    assert [path.name for path in found.files] == ["good.png"]


def test_what_cannot_be_unpacked_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = tmp_path / "cut.zip"
    whole = _zip(tmp_path / "whole.zip", {"a.png": os.urandom(5000), "b.png": os.urandom(5000)})
    cut.write_bytes(whole.read_bytes()[:-30])
    changed = tmp_path / "changed.zip"
    content = bytearray(whole.read_bytes())
    content[7000] ^= 1
    changed.write_bytes(content)
    out = tmp_path / "out"
    for archive, most, sentence in (
        (cut, 1e9, "cut.zip cannot be unpacked"),
        (changed, 1e9, "changed.zip cannot be unpacked"),
        (_zip(tmp_path / "none.zip", {"a.txt": b""}), 1e9, "Nothing in none.zip can be read here"),
        (whole, 9999, "more than there is room for"),
    ):
        with pytest.raises(UserError, match=sentence):
            opened(archive, out, PNG, most)
        assert not out.exists()
    monkeypatch.setattr(unpack, "_ANYHOW", 1000)
    bomb = _zip(tmp_path / "bomb.zip", {"a.png": bytes(1 << 20)})
    with pytest.raises(UserError, match=r"bomb\.zip would grow"):
        opened(bomb, out, PNG, 1e9)
    monkeypatch.setattr(zips, "_MOST", 1)
    with pytest.raises(UserError, match="holds more than 1 files"):
        opened(whole, out, PNG, 1e9)
    assert not out.exists()


def test_a_zip_on_a_tab_becomes_its_files(tmp_path: Path) -> None:
    studio = Studio(Settings(home=tmp_path / "home"))
    scene, inbox = scene_of(studio), inbox_of(studio)
    tab = SuperresTab("Super-resolution", [engine_class("superres.classical")])
    sent = tmp_path / "sent"
    sent.mkdir()
    archive = _zip(sent / "trip.zip", {"x/a.png": b"1", "y/a.png": b"2", "why.txt": b""})
    notice = add_sent(studio, inbox, scene, tab, [archive])
    chosen = inbox.files(scene.session.id, tab.id)
    assert [(one.path.name, one.path.read_bytes()) for one in chosen] == [
        ("a.png", b"1"),
        ("a.png", b"2"),
    ]
    assert notice is not None
    assert notice.text.endswith("why.txt")
    assert not sent.exists()


def test_a_zip_on_the_command_line_stands_for_its_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = _zip(tmp_path / "trip.zip", {"b10.png": b"1", "b9.png": b"2", "why.txt": b""})
    items = expand([str(archive)], PNG, cache=tmp_path / "cache")
    assert [item.path.name for item in items if item.path] == ["b9.png", "b10.png"]
    assert "why.txt" in capsys.readouterr().err
    again = kept(archive, tmp_path / "cache", PNG)
    assert sorted(again.files) == sorted(item.path for item in items if item.path)
    broken = tmp_path / "no.zip"
    broken.write_bytes(b"no")
    [item] = expand([str(broken)], PNG, cache=tmp_path / "cache")
    assert item.error == "no.zip cannot be unpacked; zip its files again"
    [item] = expand([str(archive)], (".zip",), cache=tmp_path / "cache")
    assert item.path == archive, "what is read as a zip stays one"


@pytest.mark.filterwarnings("ignore:Duplicate name")  # on purpose
def test_hostile_archives_end_in_a_sentence_or_files_inside(tmp_path: Path) -> None:
    (tmp_path / "sent").mkdir()
    cases = list(archives(tmp_path / "sent" / "archives"))
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    for number, case in enumerate(cases):
        folder = tmp_path / "out" / str(number)
        try:
            found = opened(case.path, folder, (".safetensors", ".json", ".txt"), 1e9)
        except UserError:
            assert not folder.exists()
        else:
            assert all(path.resolve().is_relative_to(folder.resolve()) for path in found.files)
            assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert {path for path in tmp_path.rglob("*") if "out" not in path.parts} == before


def test_damage_inside_a_member_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    whole = _zip(tmp_path / "a.zip", {"a.png": bytes(n * n % 251 for n in range(5000))})
    content = whole.read_bytes()
    for place in range(50, 90, 4):  # in the deflated bytes, behind the member's header
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(content[:place] + b"\xff" + content[place + 1 :])
        with pytest.raises(UserError, match="cannot be unpacked"):
            opened(damaged, tmp_path / "out", PNG, 1e9)
        assert not (tmp_path / "out").exists()
