from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from engines.base import Cancelled, UserError
from engines.superres.meter import Meter
from engines.superres.rows import Levels
from engines.superres.tiles import Tiler, channel_groups, plan, tile_side, window
from engines.superres.upscaler import Tiling, Upscaler, chain
from tests.engines.superres.helpers import QuietJob, Repeat, Rows, photo


class Convolved:
    """Three convolutions at the input's size, shuffled to twice it: radius 3."""

    scale = 2

    def __init__(self, multiple: int = 1) -> None:
        torch.manual_seed(1)
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
            nn.Conv2d(8, 12, 3, padding=1),
        )  # fmt: skip
        self.tiling = Tiling(halo=3, tile=16, multiple=multiple)
        self.multiple = multiple

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        assert all(side % self.multiple == 0 for side in lr.shape[2:])
        return pixel_shuffle(self.network(lr), 2).sigmoid()


def tiled(
    picture: np.ndarray,
    upscaler: Upscaler,
    tmp_path: Path,
    tile: int = 0,
    cancel: int | None = None,
) -> Tensor:
    rows = Rows()
    meter = Meter(QuietJob(tmp_path, cancel), 0, 100)
    source = Levels(picture, 255.0)
    Tiler(source, upscaler, meter, device="cpu", name="a.png", wanted=tile).run(rows)
    return rows.picture


@pytest.mark.parametrize("size", [(50, 70), (16, 16), (17, 33), (1, 40), (1, 1)])
@pytest.mark.parametrize("tile", [32, 33, 200])
@pytest.mark.parametrize("multiple", [1, 4])
def test_tiles_with_a_halo_give_the_whole(
    size: tuple[int, int], tile: int, multiple: int, tmp_path: Path
) -> None:
    upscaler, picture = Convolved(multiple), photo(*size)
    found = tiled(picture, upscaler, tmp_path, tile)
    height, width = size
    side = [-(-length // multiple) * multiple for length in size]
    halo = 4
    padded = window(Levels(picture, 255.0), -halo, side[0] + halo, -halo, side[1] + halo)
    with torch.no_grad():
        whole = upscaler.upscale(padded[None], (0, 0))[0]
    whole = whole[:, 2 * halo : 2 * (halo + height), 2 * halo : 2 * (halo + width)]
    assert found.shape == whole.shape
    assert float((found - whole).abs().max()) < 1e-6


@pytest.mark.parametrize("size", [(50, 70), (33, 32), (100, 31), (1, 1)])
def test_blended_tiles_add_up_to_one(size: tuple[int, int], tmp_path: Path) -> None:
    upscaler = Repeat(3, Tiling(halo=None, tile=32, overlap=6, multiple=8))
    picture = photo(*size)
    found = tiled(picture, upscaler, tmp_path)
    expected = picture.repeat(3, 0).repeat(3, 1).transpose(2, 0, 1) / 255.0
    assert np.abs(found.numpy() - expected).max() < 1e-6


def test_blended_tiles_are_all_of_one_size_and_overlap(tmp_path: Path) -> None:
    upscaler = Repeat(1, Tiling(halo=None, tile=32, overlap=6, multiple=8))
    tiled(photo(75, 100), upscaler, tmp_path)
    assert {shape for shape, _ in upscaler.seen} == {(1, 3, 32, 32)}
    begins = sorted({x for _, (_, x) in upscaler.seen})
    assert begins[0] == 0
    assert begins[-1] == 100 - 32
    assert max(np.diff(begins)) <= 32 - 6


def test_what_depends_on_the_tile_is_blended_without_a_step(tmp_path: Path) -> None:
    class Moody(Repeat):
        def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
            return torch.full_like(lr, 0.3 + 0.4 * (len(self.seen) % 2)) + 0 * super().upscale(
                lr, place
            )

    found = tiled(photo(40, 90), Moody(1, Tiling(halo=None, tile=32, overlap=16)), tmp_path)
    steps = found.diff(dim=2).abs().max()
    assert float(found.max() - found.min()) > 0.35
    assert float(steps) < 0.4 * 3.2 / 16  # a raised cosine's steepest step is pi/2 of the mean one


def test_places_are_those_of_the_picture(tmp_path: Path) -> None:
    upscaler = Repeat(2, Tiling(halo=5, tile=32))
    rows = Rows()
    meter = Meter(QuietJob(tmp_path), 0, 100)
    source = Levels(photo(64, 64), 255.0)
    Tiler(
        source, upscaler, meter, device="cpu", name="a.png", wanted=32, origin=(100, 200)
    ).run(rows)  # fmt: skip
    assert [place for _, place in upscaler.seen] == [
        (95, 195), (95, 227), (127, 195), (127, 227),
    ]  # fmt: skip


class Failing(Repeat):
    """Gives nonsense unless asked to work in full precision, or always."""

    def __init__(self, value: float, mended: bool) -> None:
        super().__init__(2, Tiling(halo=0, tile=32))
        self.value, self.mended, self.full = value, mended, 0

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        good = super().upscale(lr, place)
        self.full += full
        return good if full and self.mended else torch.full_like(good, self.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_a_tile_without_numbers_is_done_again_in_full(value: float, tmp_path: Path) -> None:
    upscaler = Failing(value, mended=True)
    found = tiled(photo(20, 20), upscaler, tmp_path)
    assert upscaler.full == 1
    assert float(found.mean()) > 0.3
    with pytest.raises(UserError, match=r"no usable numbers for a\.png"):
        tiled(photo(20, 20), Failing(value, mended=False), tmp_path)


def test_a_black_tile_may_be_black(tmp_path: Path) -> None:
    upscaler = Failing(0.0, mended=False)
    assert float(tiled(np.zeros((20, 20, 3), np.uint8), upscaler, tmp_path).max()) == 0.0
    assert upscaler.full == 0


@pytest.mark.parametrize("halo", [4, None])
def test_too_little_memory_halves_the_tile(halo: int | None, tmp_path: Path) -> None:
    class Large(Repeat):
        def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
            if max(lr.shape) > 80:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")
            return super().upscale(lr, place)

    picture = photo(150, 200)
    found = tiled(picture, Large(2, Tiling(halo=halo, tile=256, overlap=32)), tmp_path)
    expected = picture.repeat(2, 0).repeat(2, 1).transpose(2, 0, 1) / 255.0
    assert np.abs(found.numpy() - expected).max() < 1e-6

    class Endless(Repeat):
        def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
            raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        tiled(picture, Endless(2, Tiling(halo=halo, tile=256, overlap=32)), tmp_path)


def test_cancel_is_asked_at_every_tile(tmp_path: Path) -> None:
    upscaler = Repeat(2, Tiling(halo=0, tile=32))
    with pytest.raises(Cancelled):
        tiled(photo(64, 96), upscaler, tmp_path, cancel=3)
    assert len(upscaler.seen) == 2


def test_tiles_follow_the_free_memory() -> None:
    tiling = Tiling(halo=8, tile=512, bytes_per_pixel=1000)
    assert tile_side(tiling, 0, free=8 << 30) == 512
    assert tile_side(tiling, 0, free=300 << 20) == 256
    assert tile_side(tiling, 0, free=1) == 64
    assert tile_side(tiling, 96, free=1) == 96, "what a person asks for is done"


def test_channels_go_in_threes() -> None:
    assert channel_groups(1) == [(0, 0, 0)]
    assert channel_groups(3) == [(0, 1, 2)]
    assert channel_groups(5) == [(0, 1, 2), (3, 4, 4)]


@pytest.mark.parametrize("size", [1, 7, 64, 65, 1000])
@pytest.mark.parametrize("halo", [3, None])
def test_plans_cover_every_pixel(size: int, halo: int | None) -> None:
    spans = plan(size, 64, Tiling(halo=halo, tile=64, overlap=10, multiple=8), 2)
    covered = np.zeros(size)
    for span in spans:
        covered[slice(*span.keep)] += 1
        assert (span.end - span.begin) % 8 == 0
        assert span.begin <= span.keep[0] < span.keep[1] <= span.end
    assert covered.min() >= 1
    assert halo is None or covered.max() == 1


def test_chains_of_networks() -> None:
    assert chain(1.0, (2, 4)) == (2,)
    assert chain(3.0, (2, 4)) == (4,)
    assert chain(8.0, (2, 4)) == (2, 4)
    assert chain(5.0, (4,)) == (4, 4)
    assert chain(4.01, (4,)) == (4,), "a rounded size takes no second network"
    assert chain(4.0, (1,)) == (1,)
