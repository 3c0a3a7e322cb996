"""Operators of inverse problems: adjoints, pseudo-inverses, windows, and JPEG beside libjpeg."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin
from torch import Tensor

from engines.superres.degrade.inverse import Composed, pseudo_inverse
from engines.superres.degrade.jpeg import Jpeg, quality_of, tables
from engines.superres.degrade.operator import (
    Average,
    Bicubic,
    Blur,
    Clipping,
    Levels,
    Mask,
    Operator,
    filled,
)
from tests.engines.superres.helpers import photo

SIDE = 96
SEEN = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(1)) > 0.3
LINEAR: dict[str, Operator] = {
    "average": Average(3),
    "bicubic": Bicubic(4),
    "gauss": Blur.gauss(1.5),
    "box": Blur.box(9),
    "mask": Mask(SEEN),
    "blurred and small": Composed([Blur.gauss(1.5), Bicubic(2)]),
    "small and holed": Composed([Average(2), Mask(SEEN[:48, :48])]),
}
OTHERS: dict[str, Operator] = {
    "clipping": Clipping(2.0),
    "levels": Levels(3),
    "jpeg": Jpeg(10),
    "jpeg of full colour": Jpeg(40, halved=False),
}


def picture() -> Tensor:
    """(1, 3, SIDE, SIDE) in 0..1."""
    return torch.from_numpy(photo(SIDE, SIDE)).permute(2, 0, 1)[None].float() / 255.0


@pytest.mark.parametrize("name", LINEAR)
def test_the_gradient_is_the_transpose(name: str) -> None:
    operator = LINEAR[name]
    a, b = (torch.rand(1, 3, SIDE, SIDE, dtype=torch.float64) for _ in range(2))
    none = operator.measure(torch.zeros_like(b))  # of a mask, grey
    y = torch.rand_like(operator.measure(a))
    (back,) = torch.autograd.grad((operator.measure(a.requires_grad_()) * y).sum(), a)
    forward = ((operator.measure(b) - none) * y).sum()
    assert float(forward) == pytest.approx(float((b * back).sum()), rel=1e-9)


@pytest.mark.parametrize("name", [*LINEAR, *OTHERS])
def test_the_pseudo_inverse_fits_the_measurement(name: str) -> None:
    operator = (LINEAR | OTHERS)[name]
    measured = operator.measure(picture())
    found = pseudo_inverse(operator, measured)
    assert found.shape[-1] == measured.shape[-1] * operator.scale
    # A damped inverse of a blur leaves what it all but extinguished.
    most = 0.008 if operator.rounds or isinstance(operator, Blur | Composed) else 1e-5
    assert float((operator.measure(found) - measured).abs().max()) < most


@pytest.mark.parametrize("name", [*LINEAR, *OTHERS])
def test_a_window_is_measured_as_in_the_whole(name: str) -> None:
    operator = (LINEAR | OTHERS)[name]
    x, scale, step = picture(), operator.scale, operator.align
    top, height = 2 * step * max(8 // step, 1), SIDE // 2 // step * step
    part = operator.part(top, 0, height, SIDE).measure(x[:, :, top : top + height])
    whole = operator.measure(x)[:, :, top // scale : (top + height) // scale]
    cut = -(-operator.reach // scale)
    inside = slice(cut, part.shape[2] - cut)
    assert torch.allclose(part[:, :, inside], whole[:, :, inside], atol=1e-6)


@pytest.mark.parametrize("name", ["levels", "jpeg"])
def test_rounding_passes_the_gradient_through(name: str) -> None:
    x = picture().requires_grad_()
    OTHERS[name].measure(x).square().sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().mean()) > 0.1


@pytest.mark.parametrize("quality", [10, 75])
@pytest.mark.parametrize("halved", [True, False])
def test_jpeg_is_what_libjpeg_makes(quality: int, halved: bool) -> None:
    pixels, file = photo(SIDE, SIDE), io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if halved else 0)
    with Image.open(file) as read:
        assert isinstance(read, JpegImagePlugin.JpegImageFile)
        tables_read = {key: tuple(table) for key, table in read.quantization.items()}
        theirs = np.asarray(read.convert("RGB")).astype(np.float32) / 255.0
    assert tables(quality) == (tables_read[0], tables_read[1])
    assert quality_of(tables_read[0]) == quality
    ours = Jpeg(quality, halved).measure(picture())[0].permute(1, 2, 0).numpy()
    lost = np.abs(ours - pixels / 255.0).mean()
    # libjpeg works in bytes, and smooths the colour where it is made large again.
    assert np.abs(ours.clip(0, 1) - theirs).mean() < 0.35 * lost


def test_holes_go_on_from_what_is_seen_around() -> None:
    across = torch.linspace(0.2, 0.6, 40).expand(1, 3, 31, 40)
    seen = torch.ones(31, 40, dtype=torch.bool)
    seen[10:18, 12:20] = False
    found = filled(torch.where(seen, across, 9.0), seen)
    assert torch.equal(found[..., seen], across[..., seen])
    assert float((found - across).abs().max()) < 0.06
    assert torch.equal(filled(across, torch.zeros_like(seen)), torch.full_like(across, 0.5))
