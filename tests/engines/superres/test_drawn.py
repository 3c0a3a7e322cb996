"""What is drawn over training crops."""

import numpy as np

from engines.superres.drawn import Crop, Drawings, _strokes

_GRAY = np.full((64, 96, 3), 0.5, np.float32)


def _drawn(seeds: range) -> list[Crop]:
    drawings = Drawings(())
    return [drawings.over(_GRAY, np.random.default_rng(seed)) for seed in seeds]


def test_a_seed_gives_one_drawing_and_another_seed_another() -> None:
    one, other = _drawn(range(2)), _drawn(range(1, 3))
    assert np.array_equal(one[1], other[0])
    assert not np.array_equal(one[0], one[1])


def test_drawings_stay_in_range_and_leave_the_crop_alone() -> None:
    for picture in _drawn(range(12)):
        assert picture.shape == (64, 96, 3)
        assert picture.dtype == np.float32
        assert 0.0 <= picture.min() <= picture.max() <= 1.0
    assert np.all(_GRAY == 0.5)


def test_most_drawings_have_edges() -> None:
    luma = np.stack(_drawn(range(40))).mean(axis=3)
    steps = np.abs(np.diff(luma, axis=2)).max(axis=(1, 2))
    assert np.mean(steps > 0.1) > 0.7


def test_strokes_have_edges_as_a_lens_makes_them() -> None:
    strokes = _strokes((64, 96), np.random.default_rng(1))
    assert strokes.max() == 1.0
    between = (strokes > 0.0) & (strokes < 1.0)
    assert 0.2 < between.sum() / (strokes > 0.0).sum() < 0.9
