"""Walks over pictures of several tiles: every step is blended before the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engines.base import Cancelled
from engines.superres.meter import Meter
from engines.superres.rows import Levels
from engines.superres.stepwise import Stepwise, Walk, passes, walks
from engines.superres.tiles import channel_groups, window
from engines.superres.upscaler import Tiling
from tests.engines.superres.helpers import QuietJob, Repeat, Rows, photo

_KEPT = 2.0**-9  # what half floats change at about 1, over some steps


class Local(Stepwise):
    """Each pixel goes its own way, so that tiles must add up to the whole."""

    scale = 2  # type: ignore[assignment]
    tiling = Tiling(None, 32, 8, 4)  # type: ignore[assignment]
    count = 3
    width = 6

    def __init__(self, job: QuietJob) -> None:
        super().__init__(Meter(job, 0, 100))
        self.first = Repeat(2, Tiling(halo=1, tile=32))
        self.seen: list[tuple[int, tuple[int, ...]]] = []

    def step(
        self, number: int, lr: Tensor, known: Tensor, state: Tensor | None,
        place: tuple[int, int], full: bool,
    ) -> Tensor:  # fmt: skip
        self.seen.append((number, tuple(known.shape[-2:])))
        if state is None:
            return torch.cat([2.0 * known - 3.0, -known], dim=1)
        if number < self.count - 1:
            return torch.cat([state[:, 3:], state[:, :3]], dim=1)
        return 0.25 * known - 0.25 * state[:, :3]


class Drifting(Local):
    """Tiles disagree at the first step; what follows passes on what it is given."""

    count = 2
    width = 3

    def __init__(self, job: QuietJob) -> None:
        super().__init__(job)
        self.given: dict[int, Tensor] = {}

    def step(
        self, number: int, lr: Tensor, known: Tensor, state: Tensor | None,
        place: tuple[int, int], full: bool,
    ) -> Tensor:  # fmt: skip
        if state is None:
            return torch.full_like(known, 0.75 if place[1] else 0.25)
        self.given[place[1]] = state
        return state


def walk(
    stage: Stepwise, pixels: np.ndarray, job: QuietJob, origin: tuple[int, int] = (0, 0)
) -> Tensor:
    source, sink, meter = Levels(pixels, 255.0), Rows(), Meter(job, 0, 100)
    assert walks(stage, source.size, 0)
    meter.passes(passes(stage, source.size, source.channels, 0, ""))
    one = Walk(
        source, stage, 0, lambda name: job.workspace / name, meter, "cpu", "a.png", origin
    )  # fmt: skip
    one.run(sink)
    assert not list(job.workspace.iterdir())
    return sink.picture


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_tiles_add_up_to_the_whole(channels: int, tmp_path: Path) -> None:
    job = QuietJob(tmp_path)
    stage, pixels = Local(job), photo(45, 70, channels)
    found = walk(stage, pixels, job, (7, 11))
    assert {size for _, size in stage.seen} == {(64, 64)}
    groups = len(channel_groups(channels))
    tiles = len(stage.seen) // (stage.count * groups)
    assert tiles == 6
    assert [number for number, _ in stage.seen[: 3 * tiles]] == [0] * 6 + [1] * 6 + [2] * 6
    expected = 0.5 * window(Levels(pixels, 255.0), 0, 45, 0, 70)
    expected = expected.repeat_interleave(2, 1).repeat_interleave(2, 2)
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) < _KEPT
    assert any("step 2 of 3, tile 4 of 6" in text for _, _, text in job.reports)
    shares = [done for done, _, _ in job.reports]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(100.0)


def test_the_next_step_goes_on_from_what_all_tiles_found(tmp_path: Path) -> None:
    job = QuietJob(tmp_path)
    stage = Drifting(job)
    found = walk(stage, photo(30, 56), job)
    left, right = stage.given[0], stage.given[24]
    # They overlap by eight pixels of the input, and have one picture there.
    assert torch.equal(left[..., 48:], right[..., :16])
    ramp = left[0, 0, 10, 48:]
    assert bool((ramp.diff() > 0).all())
    assert 0.25 < float(ramp[0]) < 0.3
    assert torch.allclose(found[0, 10, 48:64], ramp, atol=_KEPT)


def test_a_walk_stops_at_a_tile_and_one_tile_takes_none(tmp_path: Path) -> None:
    job = QuietJob(tmp_path, cancel_at=9)
    stage = Local(job)
    with pytest.raises(Cancelled):
        walk(stage, photo(45, 70), job)
    assert len(stage.seen) == 2  # after six of the estimate
    assert not walks(stage, (32, 30), 0)
    assert not walks(stage.first, (500, 500), 0)
    assert [one.tiles for one in passes(stage, (32, 30), 3, 0, "")] == [1]
