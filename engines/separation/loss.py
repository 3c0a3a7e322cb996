"""What the separation recipes minimise: targets, weights, and noise-invariant training.

CLIPSep's target is whether a source makes up more than half of a point of the mixture. Ours is how
much of the point it makes up once the phase is taken from the mixture, within 0..1: its expected
value is the mask of least squared error, so a network that is unsure gives what measures best.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from engines.separation.clipsep import Kind, Logits
from engines.separation.warp import pool

_LAMBDA, _GAMMA = 0.1, 0.25  # of noise-invariant training, as published
_HEAVIEST = 10.0


class Mixture(NamedTuple):
    """Mixtures of one batch, as a loss sees them.

    Attributes:
        magnitude: (B, 513, T) of the mixture.
        clean: (B, 2, 256, T) targets in 0..1 of the first two sources.
        noisy: (B, 2, 256, T) the same, where one of them has the third sound with it.
        weight: (B, 1, 256, T) how much a point counts.
    """

    magnitude: Tensor
    clean: Tensor
    noisy: Tensor
    weight: Tensor


def mixture(spectra: Tensor, host: Tensor) -> Mixture:
    """From the spectra of the sources.

    Args:
        spectra: (B, 3, 513, T) complex64.
        host: (B,) 0 or 1, the source that the third sound came along with.
    """
    whole = spectra.sum(dim=1, keepdim=True)
    moduli = whole.real.square() + whole.imag.square()
    power = pool(moduli) + 1e-10
    share = pool((spectra * whole.conj()).real) / power
    own = functional.one_hot(host, 2)[:, :, None, None].to(share.dtype)
    noisy = share[:, :2] + own * share[:, 2:]
    weight = power**0.375
    weight = (weight / weight.mean(dim=(2, 3), keepdim=True)).clamp(max=_HEAVIEST)
    magnitude = moduli[:, 0].sqrt()
    return Mixture(magnitude, share[:, :2].clamp(0.0, 1.0), noisy.clamp(0.0, 1.0), weight)


def separation_loss(
    kind: Kind, logits: Logits, mixed: Mixture, absent: Tensor, unlabelled: Tensor
) -> Tensor:
    """Scalar loss.

    Args:
        kind: see `engines.separation.clipsep.CLIPSep`.
        logits: of two queries a mixture.
        mixed: the mixtures.
        absent: (B, 2) bool, where a query names what is not in the mixture.
        unlabelled: (B,) bool, where the third sound has no label, so that a query of its host gets
            it as well.
    """
    if kind == "pit":
        assert logits.noise is not None
        return _either(logits.noise, mixed).mean()
    there = (~absent)[:, :, None, None]
    alone = unlabelled & ~absent.any(dim=1)
    if kind != "nit" or logits.noise is None:
        target = torch.where(alone[:, None, None, None], mixed.noisy, mixed.clean) * there
        return _entropy(logits.query, target, mixed.weight).mean()
    direct = _entropy(logits.query, mixed.clean * there, mixed.weight).mean(dim=1)
    if not bool(alone.any()):
        return direct.mean()
    kept = Mixture(*(part[alone] for part in mixed))
    query, noise = logits.query[alone].sigmoid(), logits.noise[alone].sigmoid()
    orders = [_joined(query, noise, kept), _joined(query, noise.flip(1), kept)]
    invariant = torch.minimum(*orders)
    crowded = functional.relu(noise.sum(dim=1).mean() - _GAMMA)
    return torch.cat([direct[~alone], invariant]).mean() + _LAMBDA * crowded


def _entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(B, 2): weighted cross-entropy."""
    whole = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (whole * weight).mean(dim=(2, 3))


def _joined(query: Tensor, noise: Tensor, mixed: Mixture) -> Tensor:
    """(B,): the same of masks joined with those of the heads of noise, in this order."""
    both = (query + noise).clamp(1e-5, 1.0 - 1e-5)
    whole = functional.binary_cross_entropy(both, mixed.noisy, reduction="none")
    return (whole * mixed.weight).mean(dim=(1, 2, 3))


def _either(logits: Tensor, mixed: Mixture) -> Tensor:
    """(B,): that of the better of both orders."""
    orders = [
        _entropy(logits, mixed.noisy, mixed.weight).mean(dim=1),
        _entropy(logits, mixed.noisy.flip(1), mixed.weight).mean(dim=1),
    ]
    return torch.minimum(*orders)
