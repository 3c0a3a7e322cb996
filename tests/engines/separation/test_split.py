"""The stream: frames and back, memory that does not grow, masks that are shares."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from engines.separation.activity import STEP, Activity, Found, merged
from engines.separation.clipsep import CLIPSep
from engines.separation.masker import Grid, Masker
from engines.separation.masks import at_strength, shares, unnamed
from engines.separation.model import Separator
from engines.separation.split import Rules, Splitter
from engines.sound.chunks import Sound
from engines.sound.progress import Meter
from studio.bench.job import BenchJob
from tests.engines.separation.make_sound import Splits, small


def _splitter(network: object, rate: int, channels: int, samples: int, **more: object) -> Splitter:
    queries = torch.zeros(1, getattr(network, "embedding", 2))
    queries[0, :2] = 1.0
    meter = Meter(BenchJob(), 0, 100, "testing")
    masker = Masker(
        network,  # type: ignore[arg-type]
        queries, rate, channels, heads=False, linked=True, gain=1.0, samples=samples, meter=meter,
    )  # fmt: skip
    rules = {
        "wanted": 1, "unwanted": 0, "kind": "soft", "competition": False, "strength": 1.0,
        "mode": "keep", "noise": False,
    }  # fmt: skip
    return Splitter(masker, Rules(**(rules | more)), rate, channels)  # type: ignore[arg-type]


def _blocks(sound: Sound, size: int) -> Iterator[Sound]:
    for begin in range(0, sound.shape[1], size):
        yield sound[:, begin : begin + size]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 48_000, 192_000])
def test_a_mask_of_one_gives_the_recording_back_at_any_rate(rate: int) -> None:
    sound = 0.1 * np.random.default_rng(0).standard_normal((2, rate * 3 + 7)).astype(np.float32)
    pieces = list(_splitter(Splits(), rate, 2, sound.shape[1]).run(_blocks(sound, 10_007)))
    before = np.concatenate([piece.before for piece in pieces], axis=1)
    made = np.concatenate([piece.tracks for piece in pieces], axis=2)
    assert np.array_equal(before, sound)
    assert float(np.abs(made[0] - sound).max()) < 1e-6


def test_no_more_than_some_seconds_are_held() -> None:
    rate, seconds = 16_000, 90
    given = 0

    def blocks() -> Iterator[Sound]:
        nonlocal given
        for _ in range(seconds * 2):
            given += rate // 2
            yield np.full((1, rate // 2), 0.1, np.float32)

    late = taken = 0
    for piece in _splitter(Splits(), rate, 1, seconds * rate).run(blocks()):
        late = max(late, given - taken)
        taken += piece.before.shape[1]
    assert taken == seconds * rate
    assert late < 6 * rate


@pytest.mark.parametrize("official", [False, True])
def test_the_blocks_do_not_matter(official: bool) -> None:
    torch.manual_seed(0)
    big = CLIPSep("nit", layers=5, channels=4, ngf=8).eval().requires_grad_(False)
    separator = Separator(big if official else small())
    sound = 0.1 * np.random.default_rng(0).standard_normal((1, 150_000)).astype(np.float32)
    made: list[Sound] = []
    for size in (1_000, 65_536):
        splitter = _splitter(separator, 16_000, 1, 150_000)
        made.append(np.concatenate([p.tracks[0] for p in splitter.run(_blocks(sound, size))], 1))
    assert float(np.abs(made[0] - made[1]).max()) < 1e-5
    assert 0.0 < float(np.square(made[0]).mean()) < 0.01


def test_the_grids_agree_at_48_khz() -> None:
    masks = torch.rand(1, 1, 513, 20)
    drawn = Grid(48_000, 20).at(np.arange(-1, 21), masks, 0)
    assert drawn.shape == (1, 1, 1537, 22)
    assert torch.allclose(drawn[:, :, :513, 1:21], masks, atol=1e-6)
    assert torch.allclose(drawn[:, :, 600, 5], masks[:, :, 416:, 4].mean(dim=-1))


def test_masks_become_shares() -> None:
    query, negative = torch.rand(3, 1, 8, 5), torch.rand(1, 1, 8, 5)
    for kind in ("soft", "binary"):
        masks, residual = shares(query, negative, kind=kind, competition=True)  # type: ignore[arg-type]
        assert torch.allclose(masks.sum(dim=0) + residual, torch.ones(1, 8, 5), atol=1e-6)
        assert float(torch.cat([masks, residual[None]]).min()) >= 0.0
        for mode in ("keep", "remove"):
            whole = at_strength(masks, residual, 0.5, mode)  # type: ignore[arg-type]
            assert float(whole.sum(dim=0).max()) <= 1.0 + 1e-6
    plain, _ = shares(query, negative[:0], kind="soft", competition=False)
    assert torch.equal(plain, query)
    assert torch.equal(
        shares(query, 1.0 + 0 * negative, kind="soft", competition=False)[0], 0 * query
    )
    left = unnamed(torch.rand(2, 1, 8, 5), residual)
    assert bool((left.sum(dim=0) <= residual + 1e-6).all())


def test_presence_is_of_the_fullest_two_seconds() -> None:
    activity = Activity(1)
    masks = torch.zeros(1, 1, 4, 1000)
    masks[..., 400:500] = 0.8  # 1.6 of 16 s
    for begin in range(0, 1000, 90):
        part = masks[..., begin : begin + 90]
        activity.add(part, torch.ones(1, 4, part.shape[-1]))
    [found] = activity.found(16.0)
    assert found.presence == pytest.approx(0.64 * 100 / 128, rel=0.02)
    assert found.share == pytest.approx(0.064)
    assert found.there
    [[start, end]] = found.intervals
    assert (start, end) == pytest.approx((6.4, 8.0), abs=STEP)
    silent = Activity(1)
    silent.add(torch.ones(1, 1, 4, 10), torch.zeros(1, 4, 10))
    assert not silent.found(0.2)[0].there
    many = Found(1.0, 1.0, tuple((t + 0.0, t + 0.5) for t in range(50)), there=True)
    [drawn] = merged([many], 10)
    assert len(drawn) <= 10
    assert (drawn[0][0], drawn[-1][1]) == (0.0, 49.5)
