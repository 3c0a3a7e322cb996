"""How a file was made, told inside it and read back."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from engines.media.provenance import from_file, to_xmp

PROVENANCE = {
    "engine": "raw.yond",
    "params": {"weights": 'a<b>&"c"\u00e9\U0001f300', "K": None, "output": ["dng", "tiff"]},
    "text": "line\nbreak, tab\t and ]]> too",
}


def test_xmp_is_xml_that_holds_it() -> None:
    packet = to_xmp(PROVENANCE)
    root = ElementTree.fromstring(packet.split("?>", 1)[1].rsplit("<?", 1)[0])
    assert root.tag == "{adobe:ns:meta/}xmpmeta"
    assert to_xmp(PROVENANCE) == packet


@pytest.mark.parametrize("padding", [0, 500_000, 3_000_000])
@pytest.mark.parametrize("behind", [True, False])
def test_found_before_or_behind_the_picture(padding: int, behind: bool, tmp_path: Path) -> None:
    packet = to_xmp(PROVENANCE).encode()
    parts = [bytes(padding), packet]
    (tmp_path / "a.dng").write_bytes(b"".join(parts if behind else parts[::-1]))
    assert from_file(tmp_path / "a.dng") == PROVENANCE


def test_sidecar(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"engine": "raw.yond"}')
    (tmp_path / "b.json").write_text('{"other": 1}')
    (tmp_path / "c.json").write_text("no json")
    found = [from_file(tmp_path / name) for name in ("a.json", "b.json", "c.json")]
    assert found == [{"engine": "raw.yond"}, None, None]


@pytest.mark.parametrize("text", ["", "{", "[1, 2", "{&quot;a&quot;: }"])
def test_what_is_not_ours(text: str, tmp_path: Path) -> None:
    packet = f"<noisestudio:provenance>{text}</noisestudio:provenance>"
    (tmp_path / "a.tif").write_text(packet)
    (tmp_path / "b.tif").write_bytes(b"\xff" * 100)
    assert from_file(tmp_path / "a.tif") is None
    assert from_file(tmp_path / "b.tif") is None
    assert from_file(tmp_path / "missing.tif") is None
