"""Centroids moved, with the indices as they are, to where the output's error is least."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_NOISE = 1e-9  # share of the first gradient's square


def refine(
    books: Sequence[Tensor],
    indices: Sequence[Tensor],
    hessian: Tensor,
    counts: Tensor,
    pull: Tensor,
    steps: int,
    check: Callable[[], None] = lambda: None,
) -> list[Tensor]:
    """Minimise tr(C E H E^T) over all centroids by conjugate gradients.

    E is linear in the centroids, so this is a least-squares problem; the step of each centroid is
    scaled by how much of H's diagonal points to it.

    Args:
        books: (k, v) float32 each; what they find is added up.
        indices: (columns, ceil(out / v)) int64 for each book.
        hessian: (columns, columns) float32, positive definite, in the units of the books.
        counts: (out,) float32, the diagonal of C: what an error counts in each output.
        pull: (columns, out) float32, H E^T as it is now.
        steps: of conjugate gradients.
        check: called every step.

    Returns:
        New books.
    """
    length = books[0].shape[1]
    columns, rows = pull.shape
    flat = [index.flatten() for index in indices]
    padding = indices[0].shape[1] * length - rows

    def gather(values: Sequence[Tensor]) -> Tensor:
        total = values[0][flat[0]]
        for value, index in zip(values[1:], flat[1:], strict=True):
            total += value[index]
        return total.view(columns, -1)[:, :rows]

    def scatter(lines: Tensor) -> list[Tensor]:
        vectors = nn.functional.pad(lines * counts, (0, padding)).view(-1, length)
        return [
            torch.zeros_like(book).index_add_(0, index, vectors)
            for book, index in zip(books, flat, strict=True)
        ]

    tiny = torch.finfo(torch.float32).tiny
    mass = scatter(hessian.diagonal().unsqueeze(1).expand(columns, rows))
    mass = [part.clamp_min_(tiny) for part in mass]
    moved = [torch.zeros_like(book) for book in books]
    left = [-part for part in scatter(pull)]
    scaled = [part / m for part, m in zip(left, mass, strict=True)]
    way = [part.clone() for part in scaled]
    size = first = _dot(left, scaled)
    for _ in range(steps):
        check()
        turned = scatter(hessian @ gather(way))
        curve = _dot(way, turned)
        if curve <= tiny or size <= first * _NOISE:  # what is left is what float32 rounds away
            break
        share = size / curve
        for book, left_part, along, back in zip(moved, left, way, turned, strict=True):
            book.add_(along, alpha=share)
            left_part.sub_(back, alpha=share)
        scaled = [part / m for part, m in zip(left, mass, strict=True)]
        before, size = size, _dot(left, scaled)
        for along, part in zip(way, scaled, strict=True):
            along.mul_(size / before).add_(part)
    return [book + change for book, change in zip(books, moved, strict=True)]


def _dot(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))
