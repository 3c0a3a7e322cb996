"""What the automatic choice takes a file for."""

from pathlib import Path

import pytest
from PIL import Image

from engines.superres.upsr.condition import condition
from engines.superres.upsr.params import UpsrParams


@pytest.mark.parametrize(
    ("quality", "expected"), [(95, "clean"), (90, "clean"), (80, "photo"), (50, "photo")]
)
def test_a_jpeg_goes_by_its_quantiser(tmp_path: Path, quality: int, expected: str) -> None:
    path = tmp_path / "a.jpg"
    Image.new("RGB", (16, 16)).save(path, quality=quality)
    assert condition(path) == expected
    assert UpsrParams().for_file(path).source == expected


def test_other_files_are_clean_and_a_choice_stays(tmp_path: Path) -> None:
    png, broken, worn = tmp_path / "a.png", tmp_path / "b.jpg", tmp_path / "c.jpg"
    Image.new("RGB", (16, 16)).save(png)
    broken.write_bytes(b"\xff\xd8\xff")
    Image.new("RGB", (16, 16)).save(worn, quality=40)
    assert condition(png) == condition(broken) == condition(tmp_path / "none.jpg") == "clean"
    assert UpsrParams(source="clean").for_file(worn).source == "clean"
    assert UpsrParams(source="photo").for_file(png).source == "photo"
