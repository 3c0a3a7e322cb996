from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pytest
import torch
from bitsandbytes import functional
from torch import Tensor

from engines.base import UserError
from engines.quantize.kinds import layer_kind
from engines.quantize.layers import Grid, QuantizedLayer
from engines.quantize.methods.bnb import Bnb
from engines.quantize.nf4 import NormalFloat
from tests.engines.quantize.models import block, lone_block

SHAPES = [(48, 64), (7, 33), (96, 320)]  # the second fills neither its last block nor last byte


def made(weight: Tensor, bits: int, method: Bnb | None = None) -> QuantizedLayer:
    lone = lone_block({"a": weight}, [torch.zeros(1, 1, weight.shape[1])])
    return (method or Bnb()).quantize(lone, {"a": Grid(bits)})["a"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_four_bits_are_those_of_bitsandbytes(
    kind: Literal["nf4", "fp4"], double: bool, shape: tuple[int, int]
) -> None:
    weight = torch.randn(shape)
    packed, state = functional.quantize_4bit(
        weight, blocksize=64, compress_statistics=double, quant_type=kind
    )
    layer = made(weight, 4, Bnb(kind, double))
    assert isinstance(layer, NormalFloat)
    assert torch.equal(layer.dequantize(), functional.dequantize_4bit(packed, state))
    stored = layer.tensors()
    whole = weight.numel() // 2  # what fills up the last byte does not matter
    assert torch.equal(stored["codes"][:whole], packed[:whole])
    assert torch.equal(stored["absmax"], state.absmax)
    assert ("nested_absmax" in stored) == double


@pytest.mark.parametrize("shape", SHAPES)
def test_eight_bits_are_those_of_bitsandbytes(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape)
    codes, absmax, _ = functional.int8_vectorwise_quant(weight.half())
    layer = made(weight, 8)
    assert torch.equal(layer.tensors()["codes"], codes)
    assert torch.equal(layer.dequantize(), functional.int8_vectorwise_dequant(codes, absmax))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("double", [False, True])
def test_stored_and_read_again(bits: int, double: bool) -> None:
    layer = made(torch.randn(24, 80), bits, Bnb(double_quant=double))
    again = layer_kind(layer.kind).from_tensors(layer.tensors(), layer.settings())
    assert torch.equal(again.dequantize(), layer.dequantize())
    assert again.bits == layer.bits
    stored = sum(t.numel() * t.element_size() for t in layer.tensors().values())
    assert layer.bits == 8 * stored / (24 * 80)


def test_what_it_takes() -> None:
    weight = torch.randn(256, 1024)
    plain = made(weight, 4).bits
    assert plain == pytest.approx(4.5, abs=0.01)  # 32 bits a block of 64, and the table
    double = made(weight, 4, Bnb(double_quant=True)).bits
    assert 4.12 < double < plain - 0.3
    assert made(weight, 8).bits == 8 + 32 / 1024


def test_rows_and_blocks_of_zeros() -> None:
    weight = torch.randn(4, 64)
    weight[1] = 0
    for bits in (4, 8):
        assert (made(weight, bits).dequantize()[1] == 0).all()


def test_nf4_suits_weights_better_than_fp4() -> None:
    weight = torch.randn(64, 256)
    errors = [
        float((made(weight, 4, Bnb(kind)).dequantize() - weight).square().mean())
        for kind in ("nf4", "fp4")
    ]
    assert errors[0] < errors[1]


@pytest.mark.parametrize("bits", [4, 8])
def test_a_damaged_file(bits: int) -> None:
    layer = made(torch.randn(8, 128), bits)
    stored = layer.tensors()
    with pytest.raises(UserError, match="the file is damaged"):
        type(layer).from_tensors(stored | {"absmax": stored["absmax"][:-1]}, layer.settings())


def test_a_whole_block_of_gpt2() -> None:
    gpt2 = block("gpt2")
    grids = dict.fromkeys(gpt2.linears, Grid(4))
    for path, layer in Bnb().quantize(gpt2, grids).items():
        weight = gpt2.weight(path)
        assert layer.shape == weight.shape
        assert (layer.dequantize() - weight).norm() < 0.12 * weight.norm()


def test_refusals() -> None:
    with pytest.raises(UserError, match="4 and 8 bits, and not 3"):
        made(torch.randn(8, 64), 3)
    with pytest.raises(UserError, match="too large for float16"):
        made(torch.full((8, 64), 1e5), 8)
    assert made(torch.full((8, 64), 1e5), 4).dequantize()[0, 0] == 1e5
    assert replace(Bnb(), quant_type="fp4").name == "bnb"
