"""Weighted k-means over short vectors: what codebooks are made by.

Liu et al., "VPTQ: Extreme Low-bit Vector Post-Training Quantization for Large Language Models"
(EMNLP 2024), section 3.1: minimising the proxy error tr(E H E^T) with off-diagonal terms left out
is k-means in which a vector counts as the diagonal of H says.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels import native
from kernels.native import search

_AT_ONCE = 1 << 22  # distances held at a time
_LEAST_GAIN = 1e-4  # share of the distortion below which another round is not worth it


def nearest(vectors: Tensor, book: Tensor, half: Tensor | None = None) -> Tensor:
    """(n,) int64: the centroid of `book` (k, v) nearest to each of `vectors` (n, v).

    With `half` from `half_norms`, entries of vectors count differently; `vectors` are then given
    multiplied by how much each entry counts.
    """
    # |x - c|^2 is least where x c - |c|^2 / 2 is largest.
    half = half_norms(book) if half is None else half
    library = native.load() if search.fits(vectors, book) else None
    if library is not None:
        return search.find(library, vectors, book, half)
    found = torch.empty(len(vectors), dtype=torch.int64, device=vectors.device)
    step = max(_AT_ONCE // len(book), 1)
    for start in range(0, len(vectors), step):
        part = slice(start, start + step)
        own = half if half.ndim == 1 else half[part]
        found[part] = torch.addmm(own, vectors[part], book.T).argmax(1)
    return found


def half_norms(book: Tensor, counts: Tensor | None = None) -> Tensor:
    """(k,): minus half of each centroid's squared length; (n, k) where entries (n, v) count."""
    squared = book.square()
    return (squared.sum(1) if counts is None else counts @ squared.T).mul_(-0.5)


def fit(
    vectors: Tensor,
    weights: Tensor,
    count: int,
    *,
    rounds: int,
    seed: int,
    check: Callable[[], None] = lambda: None,
    report: Callable[[float], None] = lambda distortion: None,
) -> Tensor:
    """Centroids of vectors of which some count more than others.

    They begin as vectors drawn at random, the likelier the more they count. One that nothing is
    nearest to is put where the largest error is, so that the distortion never rises.

    Args:
        vectors: (n, v) float32.
        weights: (n,) float32, not negative; zeros count as very little.
        count: k; with fewer vectors than that, some centroids are the same.
        rounds: at most so many; fewer where the distortion falls no more.
        seed: of the draw.
        check: called every round.
        report: told the weighted mean squared distance before each round's centroids are moved.

    Returns:
        (k, v) float32.
    """
    weights = weights.clamp_min(float(weights.max()) * 1e-6).clamp_min(torch.finfo().tiny)
    generator = torch.Generator().manual_seed(seed)
    # Bennett's rule: centroids lie best as close together as a power of density times weight.
    chance = weights.cpu().pow(vectors.shape[1] / (vectors.shape[1] + 2))
    first = torch.multinomial(chance, min(count, len(vectors)), generator=generator)
    first = first.repeat(-(-count // len(first)))[:count].to(vectors.device)
    book = vectors[first].clone()
    before = float("inf")
    for _ in range(rounds):
        check()
        chosen = nearest(vectors, book)
        error = (vectors - book[chosen]).square_().sum(1).mul_(weights)
        distortion = float(error.sum() / weights.sum())
        report(distortion)
        if distortion >= before * (1 - _LEAST_GAIN):
            break
        before = distortion
        total = torch.zeros_like(book).index_add_(0, chosen, vectors * weights.unsqueeze(1))
        mass = weights.new_zeros(count).index_add_(0, chosen, weights)
        book = torch.where(mass.unsqueeze(1) > 0, total / mass.clamp_min(1e-30).unsqueeze(1), book)
        empty = (mass == 0).nonzero().squeeze(1)
        if len(empty):
            worst = error.topk(min(len(empty), len(error))).indices
            book[empty[: len(worst)]] = vectors[worst]
    return book
