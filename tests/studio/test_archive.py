"""Archives that are sent while they are made."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from pathlib import Path

from studio.archive import Member, zip_stream


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"first" * 1000)
    (tmp_path / "two").write_bytes(b"")
    (tmp_path / "old").write_bytes(b"old")
    os.utime(tmp_path / "old", (0, 0))  # 1970, before a zip's time begins
    members = [
        Member(tmp_path / "one", "Küste.dng"),
        Member(tmp_path / "two", "Küste.dng"),
        Member(tmp_path / "old", "küste.DNG"),
        Member(tmp_path / "one", "Küste-2.dng"),
    ]
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_stream(members)))) as archive:
        assert archive.testzip() is None
        found = {info.filename: archive.read(info) for info in archive.infolist()}
        assert archive.getinfo("Küste.dng").date_time >= (2020, 1, 1, 0, 0, 0)
    assert found == {
        "Küste.dng": b"first" * 1000,
        "Küste-2.dng": b"",
        "küste-3.DNG": b"old",
        "Küste-2-2.dng": b"first" * 1000,
    }
    names = [name.casefold() for name in found]
    assert len(set(names)) == len(names)


def test_nothing_large_is_held_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(200 << 20)
    tracemalloc.start()
    try:
        sent = sum(len(piece) for piece in zip_stream([Member(tmp_path / "large", "large.dng")]))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sent > 200 << 20
    assert peak < 8 << 20


def test_folders_keep_what_is_in_them_and_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_bytes(b"{}")
    (tmp_path / "model" / "deep" / "vocab.txt").write_bytes(b"a")
    (tmp_path / "model" / ".DS_Store").write_bytes(b"x")
    members = [Member(tmp_path / "model", "w3.5"), Member(tmp_path / "model", "W3.5")]
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_stream(members)))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "w3.5/config.json", "w3.5/deep/vocab.txt",
            "W3.5-2/config.json", "W3.5-2/deep/vocab.txt",
        ]  # fmt: skip
