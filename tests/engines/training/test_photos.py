"""Photographs to train on: containers, reduction, a folder of one's own, and a whole short run."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engines.base import UserError
from engines.raw.unprocess import decode_srgb, unprocess
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.train import SnrNetRecipe
from engines.training.loop import TrainConfig, train
from engines.training.photos import largest_jpeg, photos

PHOTOS = Path(__file__).parents[2] / "data" / "photos"


def _container(*bodies: bytes) -> bytes:
    """An EET container: big-endian header, six words an entry, bodies behind."""
    start = 12 + 24 * len(bodies)
    head = struct.pack(">III", 0x1EE70F42, len(bodies), 0)
    offset = start
    for body in bodies:
        head += struct.pack(">IIIIII", offset, len(body), len(body), 0, 0, 0)
        offset += len(body)
    return head + b"".join(bodies)


def test_largest_jpeg_of_a_container() -> None:
    small, large = b"\xff\xd8\xff" + b"s" * 10, b"\xff\xd8\xff" + b"l" * 90
    assert largest_jpeg(_container(small, b"x" * 500, large)) == large
    assert largest_jpeg(_container(b"no picture")) is None
    assert largest_jpeg(b"something else entirely") is None
    assert largest_jpeg(b"") is None


def _folder(path: Path, side: int = 800) -> Path:
    """Two photographs, large enough to be used."""
    path.mkdir()
    for number, file in enumerate(sorted(PHOTOS.glob("*.png"))[:2]):
        picture = cv2.imread(str(file))
        assert picture is not None
        large = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(path / f"{number}.png"), large)
    return path


def test_a_folder_of_ones_own_is_reduced_once(tmp_path: Path) -> None:
    data = _folder(tmp_path / "mine")
    found = photos(tmp_path / "cache", data)
    assert [photo.pixels.shape for photo in found] == [(400, 400, 3)] * 2
    assert found[0].pixels.dtype == np.uint16
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npy")}
    again = photos(tmp_path / "cache", data)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.npy")} == made
    assert np.array_equal(again[0].pixels, found[0].pixels)
    (data / "2.png").write_bytes((data / "0.png").read_bytes())
    assert len(photos(tmp_path / "cache", data)) == 3


def test_the_mean_in_linear_light_is_kept(tmp_path: Path) -> None:
    data = tmp_path / "stripes"
    data.mkdir()
    stripes = np.zeros((800, 800, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    cv2.imwrite(str(data / "a.png"), stripes)
    [photo] = photos(tmp_path / "cache", data)
    linear = decode_srgb((photo.pixels / 65535.0).astype(np.float32))
    assert float(linear.mean()) == pytest.approx(0.5, abs=1e-3)


def test_an_empty_folder_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photo to train on"):
        photos(tmp_path / "cache", tmp_path / "empty")


def test_unprocessing_stays_in_range_and_keeps_white() -> None:
    random = np.random.default_rng(1)
    rgb = random.uniform(0.0, 1.0, (32, 32, 3)).astype(np.float32)
    rgb[:4] = 1.0
    rgb[4:8] = 0.0
    for _ in range(20):
        raw = unprocess(rgb, random)
        assert raw.dtype == np.float32
        assert 0.0 <= raw.min() <= raw.max() <= 1.0
        assert raw[:4].min() > 0.99
        assert raw[4:8].max() < 1e-3


def test_the_recipe_makes_examples_whose_noise_is_t(tmp_path: Path) -> None:
    recipe = SnrNetRecipe("tiny", "Tiny", 4, TrainConfig(rate=1e-3), levels=2, batch=4, patch=24)
    recipe.prepare(tmp_path / "cache", _folder(tmp_path / "mine"))
    batches = recipe.batches(3)
    ratios: list[float] = []
    for _ in range(12):
        batch = next(batches)
        assert batch["noisy"].shape == batch["clean"].shape == (4, 4, 24, 24)
        for noisy, clean, t in zip(batch["noisy"], batch["clean"], batch["t"], strict=True):
            ratios.append(float((noisy - clean).std() / t))
    assert np.median(ratios) == pytest.approx(1.0, abs=0.12)
    assert torch.equal(next(recipe.batches(3))["noisy"], next(recipe.batches(3))["noisy"])


def test_a_short_run_learns_to_denoise(tmp_path: Path) -> None:
    recipe = SnrNetRecipe("tiny", "Tiny", 6, TrainConfig(rate=3e-3), levels=2, batch=4, patch=16)
    recipe.config = replace(recipe.config, steps=300)
    report = train(recipe, folder=tmp_path, data=_folder(tmp_path / "mine"))
    assert report.figures["gain_k150_db"] > 1.0
    assert report.weights.is_file()
    assert isinstance(recipe.network(), GuidedResUnet)
    assert (tmp_path / "tiny" / "validation.png").stat().st_size > 1000
