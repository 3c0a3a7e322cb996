from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engines.quantize.layers import Grid
from engines.quantize.methods.finequant import FineQuant
from engines.quantize.methods.rtn import Rtn
from tests.engines.quantize.models import ARCHITECTURES, block, lone_block


def flat(columns: int = 512, rows: int = 16) -> Tensor:
    """Weights whose range is the same everywhere."""
    random = torch.Generator().manual_seed(0)
    return torch.where(torch.rand(rows, columns, generator=random) > 0.5, 1.0, -1.0)


def test_weights_of_one_range_keep_one_scale() -> None:
    assert FineQuant().group_for(flat(), 64) == 512


def test_groups_get_as_fine_as_the_ranges_differ() -> None:
    """Ranges differ between halves, quarters or eighths of the rows: that is where it stops."""
    for parts in (2, 4, 8):
        weight = flat().unflatten(1, (parts, -1))
        weight = weight * (1 + torch.arange(parts).view(1, -1, 1))
        assert FineQuant().group_for(weight.flatten(1), 64) == 512 // parts


def test_alpha_is_the_shrinkage_that_pays() -> None:
    weight = flat()
    weight[:, :256] *= 0.8  # halving makes the mean range 10 % smaller
    assert FineQuant(alpha=0.09).group_for(weight, 64) == 256
    assert FineQuant(alpha=0.11).group_for(weight, 64) == 512


def test_one_weight_far_above_the_rest_of_its_row_asks_for_the_finest_groups() -> None:
    weight = flat(rows=512)
    weight[3, 100] = 40.0
    assert FineQuant().group_for(weight, 64) == 64
    assert FineQuant(catastrophe=100.0).group_for(weight, 64) == 512


@pytest.mark.parametrize(
    ("columns", "finest", "expected"), [(576, 64, 64), (576, 128, 64), (320, 64, 64), (96, 64, 32)]
)
def test_groups_divide_the_rows(columns: int, finest: int, expected: int) -> None:
    weight = torch.randn(16, columns, generator=torch.Generator().manual_seed(0))
    weight = weight * torch.logspace(0, 2, columns)
    size = FineQuant().group_for(weight, finest)
    assert columns % size == 0
    assert size == expected


def test_it_is_rounding_with_the_groups_found() -> None:
    layers = lone_block({"even": flat(), "uneven": flat() * torch.logspace(0, 1, 512)}, [])
    made = FineQuant().quantize(layers, dict.fromkeys(layers.linears, Grid(4, 0)))
    assert made["even"].settings()["group_size"] == 512
    assert made["uneven"].settings()["group_size"] == 64
    plain = Rtn().quantize(layers, {"uneven": Grid(4, 64)})["uneven"]
    assert torch.equal(made["uneven"].dequantize(), plain.dequantize())
    assert made["even"].bits < made["uneven"].bits


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture(name: str) -> None:
    layers = block(name, chunks=0)
    made = FineQuant().quantize(layers, dict.fromkeys(layers.linears, Grid(4, 32)))
    for path, layer in made.items():
        exact = layers.weight(path)
        assert (layer.dequantize() - exact).norm() < 0.15 * exact.norm()
