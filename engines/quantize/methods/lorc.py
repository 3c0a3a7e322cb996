"""What rounding a weight left over, as a product of two thin matrices.

Yao et al., "ZeroQuant-V2" (2023), section 5: low-rank compensation (LoRC).
"""

from __future__ import annotations

import torch
from torch import Tensor

from engines.quantize.methods.curvature import Curvature

_EXACT = 2048  # narrower matrices are decomposed whole
_SPARE = 16  # directions beyond those asked for that a randomised decomposition looks at
_SEED = 0


def thin_factors(
    error: Tensor, rank: int, curvature: Curvature | None = None
) -> tuple[Tensor, Tensor]:
    """The product of rank m that comes closest to `error`, each factor with half of its size.

    Without a curvature it is the truncated singular value decomposition U_m S_m^(1/2) times
    S_m^(1/2) V_m^T (the paper's). With one, what is closest is the output: with H = L L^T, tr(E H
    E^T) is the squared norm of E L, so E L is decomposed and L taken off again.

    Args:
        error: (out, in) float32, what is to be made up for.
        rank: m, at most the smaller side is used.
        curvature: of the layer's input.

    Returns:
        (out, m) and (m, in) float32.
    """
    rank = min(rank, *error.shape)
    if curvature is None:
        left, size, right = _decomposed(error, rank)
    else:
        ordered = error[:, curvature.order]
        # L is the inverse of the upper triangular U with U^T U = H^-1.
        shown = torch.linalg.solve_triangular(curvature.upper, ordered, upper=True, left=False)
        left, size, found = _decomposed(shown, rank)
        right = torch.empty_like(found)
        right[:, curvature.order] = found @ curvature.upper
    half = size.sqrt()
    return left * half, half.unsqueeze(1) * right


def _decomposed(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """(out, m), (m,) and (m, in): the largest singular values and their directions."""
    if min(matrix.shape) <= _EXACT:
        left, size, right = torch.linalg.svd(matrix, full_matrices=False)
        return left[:, :rank], size[:rank], right[:rank]
    with torch.random.fork_rng(devices=[matrix.device] if matrix.is_cuda else []):
        torch.manual_seed(_SEED)
        left, size, right = torch.svd_lowrank(matrix, rank + _SPARE, niter=4)
    return left[:, :rank], size[:rank], right[:, :rank].T
