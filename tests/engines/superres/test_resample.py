from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from engines.superres.resample import Kind, fitted, resize, torch_bicubic
from engines.superres.rows import Enlarged, Levels, Resizing, pump
from tests.engines.superres.helpers import Rows, photo

FILTERS: dict[Kind, Image.Resampling] = {
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("size", [(7, 11), (50, 70), (148, 212), (37, 100), (1, 1)])
def test_filters_are_pillows(kind: Kind, size: tuple[int, int]) -> None:
    picture = torch.rand(37, 53)
    theirs = np.asarray(Image.fromarray(picture.numpy()).resize((size[1], size[0]), FILTERS[kind]))
    assert np.abs(resize(picture, *size, kind).numpy() - theirs).max() < 2e-6


def test_without_antialias_a_reduction_reads_few_pixels() -> None:
    picture = torch.zeros(1, 64, 64)
    picture[:, 1, 1] = 1.0  # between the pixels that a reduction by 8 reads
    assert float(resize(picture, 8, 8, antialias=False).abs().max()) == 0.0
    assert float(resize(picture, 8, 8).abs().max()) > 0.0


def test_the_cubic_filter_of_upsr_is_pytorchs() -> None:
    picture = torch.rand(2, 3, 9, 5)
    theirs = interpolate(picture, (36, 20), mode="bicubic", align_corners=False)
    assert torch.equal(torch_bicubic(picture, 4), theirs)
    assert float((torch_bicubic(picture, 4) - resize(picture, 36, 20)).abs().max()) > 1e-3


@pytest.mark.parametrize("target", [(101, 47), (9, 13), (40, 60), (1, 1)])
@pytest.mark.parametrize("kind", FILTERS)
def test_strips_and_windows_are_the_whole(kind: Kind, target: tuple[int, int]) -> None:
    levels = Levels(photo(40, 60), 255.0)
    whole = resize(levels.window(0, 40, 0, 60), *target, kind)
    rows = Rows()
    resizing = Resizing(levels.size, target, kind, rows)
    for top, bottom in ((0, 1), (1, 18), (18, 19), (19, 40)):
        resizing.take(levels.window(top, bottom, 0, 60))
    resizing.close()
    assert float((rows.picture - whole).abs().max()) < 1e-6
    part = Enlarged(levels, target, kind)
    y, x = target[0] // 3, target[1] // 4
    window = part.window(y, target[0], x, target[1])
    assert float((window - whole[:, y:, x:]).abs().max()) < 1e-6


def test_pump_cancels_between_strips() -> None:
    levels = Levels(np.zeros((3000, 4000, 3), np.uint8), 255.0)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("stop")

    rows = Rows()
    with pytest.raises(RuntimeError, match="stop"):
        pump(levels, rows, check)
    assert len(rows.parts) == 2


def test_sizes_are_rounded_and_never_nothing() -> None:
    assert fitted(33, 51, 1.5, None) == (50, 77)
    assert fitted(1000, 3, 1.0, 100) == (100, 1)
    assert fitted(300, 400, 4.0, 1000) == (750, 1000)
