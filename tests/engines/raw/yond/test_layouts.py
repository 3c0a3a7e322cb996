"""Every kind of sensor through YOND: geometry, known noise, means, hot pixels, tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines import weights
from engines.raw.yond import order
from engines.raw.yond.arch import GuidedResUnet
from engines.raw.yond.denoise import denoise_picture
from engines.raw.yond.layouts import FourColours, Grid, Layout
from engines.raw.yond.params import YondParams
from engines.raw.yond.phases import Demosaiced, XTrans
from kernels.bayer import pack
from studio.bench.job import BenchJob
from tests.engines.media.make_raw import QUAD, XTRANS

SCALE, GAIN, SIGMA = 15871.0, 6.12, 7.1
SIZES = [(60, 66), (61, 67), (25, 24)]
KINDS = ["xtrans", "quad", "mono", "four", "linear"]


@pytest.fixture(scope="module")
def network() -> GuidedResUnet:
    file = next(file for file in weights.bundled() if file.id == "yond-snrnet-small")
    loaded = weights.load(file, "cpu").network
    assert isinstance(loaded, GuidedResUnet)
    return loaded


def _shifted(cell: str, dy: int, dx: int) -> str:
    side = round(len(cell) ** 0.5)
    return "".join(
        cell[(y + dy) % side * side + (x + dx) % side] for y in range(side) for x in range(side)
    )


def _colours(cell: str, size: tuple[int, int]) -> Tensor:
    side = round(len(cell) ** 0.5)
    numbers = np.array(["RGBE".index(letter) for letter in cell]).reshape(side, side)
    repeats = -(-size[0] // side), -(-size[1] // side)
    return torch.from_numpy(np.tile(numbers, repeats)[: size[0], : size[1]].copy())


def _quad(cell: str, size: tuple[int, int]) -> Grid:
    front = order.first(cell, 4, lambda found: "".join(found) == QUAD)
    rows, columns = (order.swapped(n, f) for n, f in zip(size, front, strict=True))
    return Grid((rows, columns), size)


def _layout(kind: str, size: tuple[int, int]) -> Layout:
    if kind == "xtrans":
        return XTrans(XTRANS, *size)
    if kind == "quad":
        return _quad(QUAD, size)
    if kind == "linear":
        return Demosaiced(*size)
    plain = Grid(order.reflected(size, "RGGB"), size)
    return FourColours(plain) if kind == "four" else plain


@pytest.mark.parametrize("size", SIZES)
def test_xtrans_comes_back_from_every_corner(size: tuple[int, int]) -> None:
    values = torch.rand(*size)
    for dy in range(6):
        for dx in (dy, (2 * dy + 1) % 6):
            cell = _shifted(XTRANS, dy, dx)
            layout = XTrans(cell, *size)
            made = list(layout.worked(values))
            assert [tuple(stack.shape[1:]) for stack in made] == layout.sizes(values)
            torch.testing.assert_close(layout.gathered(iter(made)), values)
            green, *mixed = layout.measured(_colours(cell, size))
            assert torch.all(green == 1)
            for stack in mixed:
                assert [sorted(set(plane.flatten().tolist())) for plane in stack] == [
                    [0], [1], [1], [2],
                ]  # fmt: skip
            numbers = torch.arange(values.numel()).reshape(size)
            seen = torch.cat([stack.flatten() for stack in layout.measured(numbers)])
            assert len(torch.unique(seen)) == values.numel()


@pytest.mark.parametrize("size", SIZES)
def test_quad_becomes_bayer_from_every_corner(size: tuple[int, int]) -> None:
    values = torch.rand(*size)
    for dy in range(4):
        for dx in range(4):
            cell = _shifted(QUAD, dy, dx)
            layout = _quad(cell, size)
            assert torch.equal(layout.gathered(layout.worked(values)), values)
            [stack] = layout.measured(_colours(cell, size))
            assert [set(plane.flatten().tolist()) for plane in stack] == [{0}, {1}, {1}, {2}]


@pytest.mark.parametrize("size", SIZES)
def test_others_come_back(size: tuple[int, int]) -> None:
    light = torch.rand(*size, 3)
    demosaiced = Demosaiced(*size)
    torch.testing.assert_close(demosaiced.gathered(demosaiced.worked(light)), light)
    ramp = torch.arange(size[0])[:, None] + 2.0 * torch.arange(size[1])  # what interpolation keeps
    four = FourColours(Grid(order.reflected(size, "GBRG"), size))
    assert [tuple(one.shape[1:]) for one in four.worked(ramp)] == four.sizes(ramp)
    torch.testing.assert_close(four.gathered(four.worked(light[:, :, 0])), light[:, :, 0])
    for planes in four.worked(ramp):
        [real] = four.measured(ramp)
        torch.testing.assert_close(planes[:, 2:-2, 2:-2], real[:, 2:-2, 2:-2])
    for cfa in ("RGGB", "GRBG", "GBRG", "BGGR"):
        grid = Grid(order.reflected(size, cfa), size)
        assert torch.equal(grid.measured(light[:, :, 0])[0], pack(light[:, :, 0], cfa))
        assert torch.equal(grid.gathered(grid.worked(light[:, :, 0])), light[:, :, 0])


def _scene(kind: str, size: tuple[int, int]) -> NDArray[np.float32]:
    """Fields of six brightnesses, each with a soft gradient; colours by a neutral."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    steps = np.array([0.0005, 0.002, 0.05, 0.15, 0.3, 0.5], np.float32)
    light = steps[(columns * 6 / size[1]).astype(int)] * (1.0 + 0.2 * np.sin(rows / 40.0))
    neutral = np.array([0.5, 1.0, 0.65, 0.8], np.float32)
    if kind == "linear":
        return light[:, :, None] * neutral[:3]
    cell = {"xtrans": XTRANS, "quad": QUAD, "mono": "G", "four": "RGEB"}[kind]
    return light * neutral[_colours(cell, size).numpy()]


def _noisy(clean: NDArray[np.float32], seed: int = 1) -> Tensor:
    random = np.random.default_rng(seed)
    drawn = GAIN * random.poisson(clean.astype(np.float64) * SCALE / GAIN)
    drawn = np.rint(drawn + random.normal(0.0, SIGMA, clean.shape))
    return torch.from_numpy((drawn / SCALE).astype(np.float32))


def _run(network: GuidedResUnet, kind: str, values: Tensor, **params: Any) -> Any:
    layout = _layout(kind, (values.shape[0], values.shape[1]))
    return denoise_picture(values, layout, SCALE, network, YondParams(**params), BenchJob())


@pytest.mark.parametrize("kind", KINDS)
def test_known_noise_is_found_and_falls(network: GuidedResUnet, kind: str) -> None:
    clean = _scene(kind, (264, 330))
    noisy = _noisy(clean)
    found = _run(network, kind, noisy)
    assert found.last.K == pytest.approx(GAIN, rel=0.15)
    assert found.last.sigma == pytest.approx(SIGMA, rel=0.25)
    assert found.last.confidence > 0.8
    truth = torch.from_numpy(clean)
    before = float((noisy - truth).square().mean())
    assert float((found.planes - truth).square().mean()) < 0.1 * before
    parts = found.planes.chunk(6, dim=1)
    for field, (part, true) in enumerate(zip(parts, truth.chunk(6, dim=1), strict=True)):
        near = pytest.approx(float(true.mean()), rel=0.01, abs=0.4 / SCALE)
        assert float(part.mean()) == near, field


@pytest.mark.parametrize("kind", KINDS)
def test_tiles_do_not_show(network: GuidedResUnet, kind: str) -> None:
    noisy = _noisy(_scene(kind, (140, 300)))
    params: dict[str, Any] = {"K": GAIN, "sigma": SIGMA}
    whole = _run(network, kind, noisy, tile=4096, **params).planes
    tiled = _run(network, kind, noisy, tile=128, **params).planes
    spread = (GAIN * 0.2 * SCALE + SIGMA**2) ** 0.5 / SCALE
    assert float((whole - tiled).abs().max()) < 0.05 * spread


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "linear"])
def test_lit_photosites_go_and_a_star_stays(network: GuidedResUnet, kind: str) -> None:
    clean = np.full((150, 156), 0.05, np.float32)
    noisy = _noisy(clean)
    lit = [(31, 40), (60, 77), (61, 120), (100, 33)]
    for y, x in lit:
        noisy[y, x] = 0.9
    rows, columns = np.mgrid[:150, :156]
    star = 0.8 * np.exp(-((rows - 110) ** 2 + (columns - 110) ** 2) / (2 * 1.2**2))
    noisy += torch.from_numpy(star.astype(np.float32))
    found = _run(network, kind, noisy, K=GAIN, sigma=SIGMA)
    for y, x in lit:
        assert float(found.planes[y, x]) == pytest.approx(0.05, abs=0.01)
    assert {tuple(place) for place in found.hot.tolist()} == set(lit)
    assert float(found.planes[110, 110]) > 0.6


def test_a_demosaiced_mosaic_is_measured_in_its_own_phase() -> None:
    """Interpolated values have less noise than the sensor's, and would give too low a gain."""
    clean = _scene("linear", (300, 402))
    noisy = _noisy(clean)
    light = noisy.clone()  # red and blue from their neighbours where a Bayer sensor has none
    for channel, (y, x) in ((0, (1, 0)), (2, (0, 1))):
        plane = noisy[:, :, channel]
        light[:, :, channel] = (plane + plane.roll(1, 0) + plane.roll(1, 1)) / 3.0
        light[y::2, x::2, channel] = plane[y::2, x::2]
    layout = Demosaiced(300, 402)
    rough = layout.roughness(light)
    assert rough.index(max(rough)) == 2  # GBRG
    [stack] = layout.measured(light)
    assert torch.equal(stack[0, 1:-1, 1:-1], pack(noisy[:, :, 0], "GBRG")[0, 1:-1, 1:-1])
