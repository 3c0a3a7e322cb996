"""Packing of every CFA order, odd sizes included."""

from __future__ import annotations

import pytest
import torch

from kernels import bayer


@pytest.mark.parametrize("cfa", list(bayer.PHASES))
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (2, 3), (5, 4), (7, 7), (8, 6)])
def test_round_trip(cfa: str, size: tuple[int, int]) -> None:
    mosaic = torch.arange(size[0] * size[1]).reshape(size)
    planes = bayer.pack(mosaic, cfa)
    assert torch.equal(bayer.unpack(planes, cfa, *size), mosaic)


@pytest.mark.parametrize("cfa", list(bayer.PHASES))
@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
def test_planes_hold_one_colour_each(cfa: str, size: tuple[int, int]) -> None:
    colours = torch.tensor(["RGB".index(letter) for letter in cfa]).reshape(2, 2)
    mosaic = colours.repeat(5, 5)[: size[0], : size[1]]
    planes = bayer.pack(mosaic, cfa)
    for plane, colour in zip(planes, (0, 1, 1, 2), strict=True):
        assert plane.unique().tolist() == [colour]


@pytest.mark.parametrize("cfa", list(bayer.PHASES))
def test_site_order_says_where_a_plane_lies_in_the_cell(cfa: str) -> None:
    order = bayer.site_order(cfa)
    assert sorted(order) == [0, 1, 2, 3]
    assert [cfa[site] for site in order] == list("RGGB")
    # The first green plane is the one in the red rows, whatever the phase.
    red, green = cfa.index("R"), order[1]
    assert red // 2 == green // 2
