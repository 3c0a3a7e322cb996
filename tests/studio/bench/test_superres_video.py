"""The bench of films: its clips, its measures, and what is said of missing weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engines.base import UserError
from engines.superres.negvsr.net import NegVsr
from engines.weights import save_safetensors
from studio.bench import superres_video
from studio.bench.superres_video import FRAMES, SIDE, judge, negvsr, one_by_one, sets
from studio.bench.upscalers import cubic
from tests.engines.superres.test_negvsr import SMALL

Sets = dict[str, list[tuple[superres_video.Clip, superres_video.Clip]]]


@pytest.fixture(scope="module")
def clips() -> Sets:
    return sets()


def test_the_sets_move_and_are_always_the_same(clips: Sets) -> None:
    assert {name: len(pairs) for name, pairs in clips.items()} == {"clean": 10, "film": 10}
    again = sets()
    for name, pairs in clips.items():
        for (low, high), (same, _) in zip(pairs, again[name], strict=True):
            assert low.shape == (FRAMES, SIDE // 4, SIDE // 4, 3)
            assert high.shape == (FRAMES, SIDE, SIDE, 3)
            assert np.array_equal(low, same)
            assert np.abs(high[0].astype(int) - high[-1]).mean() > 0.5


def test_the_original_is_closest_and_steadiest(clips: Sets) -> None:
    pairs = clips["clean"][:2]
    truth = judge([high for _, high in pairs], pairs, [20.0] * 2)
    found = [one_by_one(cubic)(low) for low, _ in pairs]
    noise = np.random.default_rng(0).normal(0, 8, found[0].shape)
    noisy = [(one + noise).clip(0, 255).astype(np.uint8) for one in found]
    plain, worse = judge(found, pairs, [20.0] * 2), judge(noisy, pairs, [20.0] * 2)
    assert truth["psnr_y"] > 90.0 > plain["psnr_y"] > worse["psnr_y"]
    assert truth["unsteady"] == truth["unsteady_original"]
    assert worse["unsteady"] > plain["unsteady"] + 3.0


def test_weights_are_named_or_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clips: Sets
) -> None:
    monkeypatch.setattr(superres_video, "BUNDLED", tmp_path)
    with pytest.raises(UserError, match="train negvsr-small"):
        negvsr()
    torch.manual_seed(0)
    path = tmp_path / "mine.safetensors"
    card = {"network": "superres.negvsr/net", "config": SMALL, "title": "tiny"}
    save_safetensors(path, NegVsr(**SMALL).state_dict(), card)  # type: ignore[arg-type]
    monkeypatch.setenv("STUDIO_BENCH_WEIGHTS", str(path))
    low, high = clips["clean"][0]
    assert negvsr()(low[:2]).shape == high[:2].shape
