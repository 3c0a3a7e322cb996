"""What is done to light: statistics, tiles, hues, ends of the range."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from engines.raw.noiser.arch import NoiserNet
from engines.raw.noiser.look import Look
from engines.raw.noiser.params import LookParams
from engines.raw.noiser.rows import shrunk
from engines.raw.noiser.transfer import Transfer, decode_srgb, encode_srgb, transfer_of
from studio.bench.job import BenchJob

PHOTOS = Path(__file__).parents[3] / "data" / "photos"


@pytest.fixture(scope="module")
def network() -> NoiserNet:
    found = BenchJob().load("noiser").network
    assert isinstance(found, NoiserNet)
    return found


def _photo(number: int, stops: float) -> Tensor:
    """(3, 256, 256) linear light of a photo, so many stops under."""
    file = sorted(PHOTOS.glob("*.png"))[number]
    coded = np.asarray(Image.open(file).convert("RGB"), np.float32) / 255.0
    return decode_srgb(torch.from_numpy(coded.transpose(2, 0, 1).copy())) * 2.0**-stops


def _look(light: Tensor, network: NoiserNet, **params: object) -> Look:
    seen = torch.ones(light.shape[1:], dtype=torch.bool)
    return Look.of(light, seen, Transfer(), network, LookParams.model_validate(params))


def _bright(light: Tensor, network: NoiserNet, **params: object) -> Tensor:
    return _look(light, network, **params).apply(light, 0, light.shape[1])


def _coded_mean(light: Tensor) -> float:
    return float(encode_srgb(Transfer().luminance(light)).mean())


def test_told_its_own_statistics_the_network_does_as_without(network: NoiserNet) -> None:
    x = 2.0 * encode_srgb(_photo(0, 4.0))[None] - 1.0
    with torch.inference_mode():
        torch.testing.assert_close(network(x), network(x, network.statistics(x)))


@pytest.mark.parametrize("number", range(4))
def test_the_plain_network_makes_grey_in_the_mean(network: NoiserNet, number: int) -> None:
    bright = _bright(_photo(number, 4.0), network, method="paper")
    assert 0.40 <= float(encode_srgb(bright).mean()) <= 0.60


def test_an_over_exposed_picture_gets_darker_and_white_stays(network: NoiserNet) -> None:
    light = decode_srgb(encode_srgb(_photo(1, 0.0)) * 0.3 + 0.7)
    light[:, :8, :8] = 1.0
    for method in ("paper", "natural"):
        assert _coded_mean(_bright(light, network, method=method)) < _coded_mean(light) - 0.02
    natural = _bright(light, network, local=False, natural=1.0)
    assert float(natural[:, :8, :8].min()) == pytest.approx(1.0)


@pytest.mark.parametrize("stops", [3.0, 6.0])
def test_one_under_exposed_comes_back(network: NoiserNet, stops: float) -> None:
    look = _look(_photo(2, stops), network)
    again = _look(_photo(2, stops + 1.0), network)
    assert look.stops > stops - 2.0
    assert again.stops == pytest.approx(look.stops + 1.0, abs=0.1)  # it is the picture that counts


@pytest.mark.parametrize(
    "params",
    [{}, {"natural": 1.0}, {"local": False}, {"colour": 0.5}, {"method": "paper"},
     {"contrast": 1.2}],
)  # fmt: skip
def test_tiles_are_the_whole(network: NoiserNet, params: dict[str, object]) -> None:
    light = _photo(3, 5.0)
    look = _look(light, network, **params)
    whole = look.apply(light, 0, 256)
    parts: list[Tensor] = []
    for top, bottom in ((0, 37), (37, 38), (38, 200), (200, 256)):
        start, stop = max(top - look.reach, 0), min(bottom + look.reach, 256)
        rows = look.apply(light[:, start:stop], start, 256)
        parts.append(rows[:, top - start : bottom - start])
    error = (encode_srgb(torch.cat(parts, dim=1)) - encode_srgb(whole)).abs().max()
    assert float(error) < 0.5 / 65535


def test_sizes_agree(network: NoiserNet) -> None:
    """Twice as large, the same picture gets the same gain, and the same light at the same place."""
    small = _photo(4, 4.0)
    large = small.repeat_interleave(2, 1).repeat_interleave(2, 2)
    look = _look(small, network)
    other = _look(shrunk(large, torch.ones(512, 512, dtype=torch.bool), 256)[0], network)
    assert other.stops == pytest.approx(look.stops, abs=1e-3)
    apart = other.apply(large, 0, 512)[:, ::2, ::2] - look.apply(small, 0, 256)
    assert float(apart.abs().mean()) < 0.01


def test_hues_are_kept(network: NoiserNet) -> None:
    light = _photo(5, 4.0) + 1e-4
    bright = _bright(light, network)
    before, after = (one / one.sum(0) for one in (light, bright))
    inside = bright.amax(0) < 0.999
    assert float(inside.float().mean()) > 0.8
    assert float((before - after).abs()[:, inside].max()) < 1e-4
    grey = _bright(light, network, colour=0.0)
    assert float((before - grey / grey.sum(0)).abs().mean()) > 0.005


def test_brighter_stays_brighter(network: NoiserNet) -> None:
    steps = torch.linspace(0.0, 0.05, 256).expand(3, 64, 256).contiguous()
    for params in ({"natural": 1.0}, {"natural": 1.0, "contrast": 1.3}):
        line = _bright(steps, network, **params)[1, 32]
        assert float(line.diff().min()) >= 0.0
        assert float(line[0]) == pytest.approx(0.0, abs=1e-3)


def test_no_steps_are_invented(network: NoiserNet) -> None:
    """A smooth dark ramp of 16 bits stays as smooth as the gain allows."""
    levels = torch.linspace(0.02, 0.12, 4096).mul(65535).round() / 65535
    light = decode_srgb(levels).expand(3, 16, 4096).contiguous()
    line = encode_srgb(_bright(light, network)[1, 8])
    assert float(line.diff().max()) < 6.0 * 0.8 / 4096  # of the whole range, six even steps


def test_what_is_black_or_one_colour_is_no_trouble(network: NoiserNet) -> None:
    for value in (0.0, 1e-5, 0.3, 1.0):
        flat = torch.full((3, 20, 30), value)
        for method in ("paper", "natural"):
            assert bool(torch.isfinite(_bright(flat, network, method=method)).all())
    tiny = torch.rand(3, 2, 3) * 0.01
    assert _bright(tiny, network).shape == (3, 2, 3)


def test_no_strength_changes_nothing(network: NoiserNet) -> None:
    light = _photo(6, 4.0)
    for method in ("paper", "natural"):
        bright = _bright(light, network, strength=0.0, method=method, contrast=1.2, colour=0.4)
        torch.testing.assert_close(bright, light, atol=1e-4, rtol=1e-3)


def test_curves_of_profiles() -> None:
    assert transfer_of(None) == Transfer()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    found = transfer_of(srgb)
    assert found.gamma is None
    assert found.weights == pytest.approx((0.2225, 0.7169, 0.0606), abs=0.002)  # under D50
    assert transfer_of(b"no profile at all" * 20) == Transfer()
    x = torch.linspace(0.0, 1.0, 101)
    for transfer in (Transfer(), Transfer(1.0), Transfer(1.8), Transfer(2.2)):
        torch.testing.assert_close(transfer.encode(transfer.decode(x)), x, atol=1e-5, rtol=1e-5)
