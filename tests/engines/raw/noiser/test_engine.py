"""`raw.noiser` from a file to its outputs."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from engines.base import Cancelled, Result, UserError
from engines.media.picture import read_facts, read_picture
from engines.media.provenance import from_file
from engines.raw.noiser.engine import NoiserEngine
from engines.raw.noiser.params import NoiserParams
from engines.raw.noiser.preview import LivePreviewEngine, LivePreviewParams
from engines.raw.noiser.proxy import proxy
from engines.raw.noiser.rows import PictureRows, made_small
from engines.raw.noiser.transfer import Transfer, encode_srgb
from studio.bench.job import BenchJob
from tests.engines.media.make_picture import MAKER_NOTE, chunk, exif_block, png
from tests.engines.media.make_raw import write_dng

DATA = Path(__file__).parents[3] / "data"


class FolderJob(BenchJob):
    """A job with a workspace, cancelled at a given check."""

    def __init__(self, folder: Path, cancel_at: int = 0) -> None:
        super().__init__(folder / "workspace")
        self.workspace.mkdir(exist_ok=True)
        self.checks, self._cancel_at = 0, cancel_at

    def check_cancelled(self) -> None:
        self.checks += 1
        if self.checks == self._cancel_at:
            raise Cancelled


def _run(path: Path, folder: Path, **params: Any) -> Result:
    return NoiserEngine().run([path], NoiserParams(**params), FolderJob(folder))


def _dark(height: int, width: int, samples: int, most: int) -> np.ndarray[Any, Any]:
    """(H, W, samples) levels of a dark picture, alpha opaque but for a corner."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[:height, :width]
    base = 0.05 + 0.04 * np.sin(x / 15) * np.cos(y / 11)
    colours = [1.0, 0.8, 0.6][: samples - (samples % 2 == 0)]
    layers = [base * one + random.random((height, width)) * 0.005 for one in colours]
    if samples % 2 == 0:
        alpha = np.ones((height, width))
        alpha[:20, :20] = 0.0
        layers.append(alpha)
    return np.round(np.stack(layers, axis=2) * most).astype(np.uint16 if most > 255 else np.uint8)


@pytest.mark.parametrize("most", [255, 65535])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_depth_grey_alpha_profile_and_exif_are_kept(
    samples: int, most: int, tmp_path: Path
) -> None:
    profile = b"\0" * 128 + b"\0\0\0\0"  # of no curve, so sRGB is taken; but it stays
    path = tmp_path / "dark.png"
    pixels = _dark(60, 90, samples, most)
    icc = chunk(b"iCCP", b"it\0\0" + zlib.compress(profile))
    exif = chunk(b"eXIf", exif_block("<", 6, 90, 60))
    path.write_bytes(png(pixels, icc, exif))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    result = _run(path, tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    [output] = result.outputs
    assert output.path.name == "dark-bright.png"
    found, source = read_picture(output.path), read_picture(path)
    assert found.facts.bits == (8 if most == 255 else 16)
    assert found.pixels.shape == source.pixels.shape == (90, 60, min(samples, 3) - (samples == 2))
    assert found.facts.icc == profile
    assert found.facts.exif is not None
    assert MAKER_NOTE in found.facts.exif
    if samples % 2 == 0:
        assert found.alpha is not None
        np.testing.assert_array_equal(found.alpha, source.alpha)
    assert found.pixels.mean() > 3 * source.pixels.mean()
    told = from_file(output.path)
    assert told is not None
    assert told["engine"] == "raw.noiser"
    gain = result.measurements["gain"]
    assert gain.unit == "EV"
    assert 2.0 < gain.value < 7.0
    assert result.measurements["mean_after"].value > result.measurements["mean_before"].value


@pytest.mark.parametrize(
    ("name", "form"), [("dark.jpg", "JPEG"), ("dark.webp", "WEBP"), ("dark.tif", "TIFF")]
)
def test_formats_are_kept(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / name
    Image.fromarray(_dark(40, 50, 3, 255)).save(path)
    [output] = _run(path, tmp_path).outputs
    with Image.open(output.path) as picture:
        assert (picture.format, picture.size) == (form, (50, 40))


def test_a_raw_file_is_denoised_and_becomes_a_deep_tiff(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    scene = np.tile(np.linspace(20, 400, 96), (64, 1))
    mosaic = 512 + 2.0 * random.poisson(scene / 2.0) + random.normal(0, 6.0, scene.shape)
    path = write_dng(tmp_path / "dark.dng", mosaic.round().astype(np.uint16), orientation=6)
    denoised, noisy = _run(path, tmp_path), _run(path, tmp_path, denoise="off", output="png")
    facts = read_facts(denoised.outputs[0].path)
    assert (facts.format, facts.bits, facts.width, facts.height) == ("tiff", 16, 64, 96)
    assert facts.icc is not None
    assert facts.exif is not None
    assert {"K", "sigma"} <= set(denoised.measurements)
    assert "K" not in noisy.measurements
    assert set(denoised.models) == {"noiser", "yond-snrnet"}
    fast = NoiserParams(cleaner="fast")
    assert (fast.raw_denoiser, NoiserParams(denoise="off").raw_denoiser) == (
        "yond-snrnet-small",
        "",
    )
    a, b = (read_picture(one.outputs[0].path).pixels[8:-8, 8:-8] for one in (denoised, noisy))
    assert a.mean() == pytest.approx(b.mean(), rel=0.15)
    assert (
        np.abs(np.diff(a[:, :, 1].astype(int), axis=1)).mean()
        < 0.5 * np.abs(np.diff(b[:, :, 1].astype(int), axis=1)).mean()
    )


def test_the_preview_shows_what_the_whole_will_be(tmp_path: Path) -> None:
    for path in (DATA / "photos" / "00-craft-beer.png", DATA / "raw" / "colorchart.dng"):
        small = proxy(path)
        result = _run(path, tmp_path, denoise="off", output="png", depth="8")
        picture = read_picture(result.outputs[0].path)
        light, _ = made_small(PictureRows(picture, Transfer()), 256, lambda: None)
        job = FolderJob(tmp_path)
        LivePreviewEngine().run([path], LivePreviewParams(), job)
        shown = read_picture(job.workspace / "after.png")
        seen, _ = made_small(PictureRows(shown, Transfer()), 256, lambda: None)
        assert small.linear.shape[1:] == shown.pixels.shape[:2]
        a, b = (float(encode_srgb(one).mean()) for one in (light, seen))
        assert a == pytest.approx(b, abs=0.02)
    assert torch.equal(proxy(path).linear, proxy(path).linear)  # kept


def test_bad_files_and_settings(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing of the kind")
    with pytest.raises(UserError, match="no picture"):
        _run(broken, tmp_path)
    with pytest.raises(ValueError, match="8 bits"):
        NoiserParams(output="jpeg", depth="16")
    path = tmp_path / "dark.png"
    Image.fromarray(_dark(20, 20, 3, 255)).save(path)
    with pytest.raises(UserError, match="another network"):
        _run(path, tmp_path, weights="fast-x2")


def test_cancelling_leaves_no_result(tmp_path: Path) -> None:
    path = tmp_path / "dark.png"
    Image.fromarray(_dark(40, 50, 3, 255)).save(path)
    job = FolderJob(tmp_path, cancel_at=2)
    with pytest.raises(Cancelled):
        NoiserEngine().run([path], NoiserParams(), job)
    assert not list(job.workspace.glob("*-bright*"))
