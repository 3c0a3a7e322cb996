"""Operations that the networks of `raw.yond` take, for benches that set quality against them."""

from __future__ import annotations

FAST, BEST = (16, 4), (32, 4)  # width and levels
FIRST_PASS = 0.25  # of a picture's tiles


def flops_a_pixel(width: int, levels: int) -> float:
    """Of the convolutions of `GuidedResUnet` in our layout, multiply and add counted as two; a
    packed pixel, one pass.
    """
    total = 2.0 * 9 * 8 * width + 2.0 * width * 4
    for level in range(levels):
        n, pixels = width << level, 0.25**level
        block = 2 * 2.0 * 9 * n * n * pixels
        total += block
        if level + 1 < levels:
            total += block + 2.0 * 9 * n * 2 * n * pixels / 4  # on the way up; halving
            total += 6.0 * n * n * pixels  # transposed, and 1 x 1 of what was kept
    return total
