"""The logarithmic frequency of CLIPSep's networks."""

from __future__ import annotations

import torch
from torch.nn import functional

from engines.separation.warp import ROWS, pool, unwarp, warp


def test_warping_reads_where_the_paper_says() -> None:
    torch.manual_seed(1)
    maps = torch.rand(2, 513, 7)
    v = torch.linspace(-1.0, 1.0, ROWS)
    rows = (21.0 ** ((v + 1.0) / 2.0) - 11.0) / 10.0
    grid = torch.stack(
        [torch.linspace(-1.0, 1.0, 7).expand(ROWS, 7), rows[:, None].expand(ROWS, 7)], dim=-1
    )
    wanted = functional.grid_sample(maps[:, None], grid.expand(2, -1, -1, -1), align_corners=True)
    assert torch.allclose(warp(maps), wanted[:, 0], atol=1e-4)


def test_there_and_back_again() -> None:
    bins = torch.linspace(0.0, 3.0, 513)
    smooth = (1.0 + bins.sin())[:, None].expand(-1, 5)
    for there in (warp, pool):
        assert torch.allclose(unwarp(there(smooth), 513), smooth, atol=0.02)


def test_a_constant_stays_what_it_is() -> None:
    level = torch.full((3, 513, 4), 0.7)
    assert torch.allclose(warp(level), torch.tensor(0.7))
    assert torch.allclose(pool(level), torch.tensor(0.7))
    assert torch.allclose(unwarp(torch.full((3, ROWS, 4), 0.7), 513), torch.tensor(0.7))


def test_pooling_overlooks_no_bin() -> None:
    lone = torch.eye(513)  # each frame has one bin that sounds
    assert (pool(lone).sum(dim=0) > 0.05).all()
    assert (warp(lone).sum(dim=0) == 0.0).any()
