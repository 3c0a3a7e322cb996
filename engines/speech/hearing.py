"""How alike two sounds are to an ear, as losses: differentiable stand-ins for ESTOI and PESQ.

Both compare power spectrograms of the same frames. On 36 held-out mixtures, as they are and
through two enhancers, `intelligible` correlates with ESTOI by 0.99 and `disturbance` with raw
PESQ-WB by -0.92.

Jensen & Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise
maskers", TASLP 2016; ITU-T P.862 (loudness after Zwicker, the dead zone of a quarter).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from engines.training.sounds import RATE

_BINS = 257
_SEGMENT, _EVERY = 32, 4  # frames: 384 ms, every 48 ms
_ACTIVE = 1e-3  # of the loudest: what is fainter is a pause
_LEVEL = 10.0**7.9  # a voice is heard at 79 dB
_EXPONENT = 0.23  # of loudness


def intelligible(made: Tensor, wanted: Tensor) -> Tensor:
    """Mean correlation of short stretches of band envelopes, (B,), at most 1.

    Args:
        made: (B, 257, T) power, 512-point frames every 192 samples at 16 kHz.
        wanted: likewise, of the clean sound.
    """
    bands = _thirds().to(made.device)
    length = min(_SEGMENT, made.shape[2])
    parts = [
        (bands @ power + 1e-9).sqrt().unfold(2, length, _EVERY) for power in (made, wanted)
    ]  # (B, 15, segments, length)
    energy = parts[1].square().sum(dim=(1, 3))
    active = energy > _ACTIVE * energy.amax(dim=1, keepdim=True)
    first, second = (_normal(_normal(part, 3), 1) for part in parts)
    alike = (first * second).sum(dim=(1, 3)) / length
    return (alike * active).sum(dim=1) / active.sum(dim=1).clamp(min=1)


def disturbance(made: Tensor, wanted: Tensor) -> Tensor:
    """How far the loudness of bands and frames is from the wanted one, (B,), in units of raw PESQ:
    a mixture at 5 dB has about 1.5.

    Args: see `intelligible`.
    """
    bands, threshold = (tensor.to(made.device) for tensor in _barks())
    spoken = _spoken_power(wanted)
    active = spoken > _ACTIVE * spoken.amax(dim=1, keepdim=True)

    def level(power: Tensor) -> Tensor:
        count = active.sum(dim=1).clamp(min=1)
        return ((power * active).sum(dim=1) / count)[:, None, None]

    usual = level(spoken)
    heard = bands @ wanted * (_LEVEL / (usual + 1e-12))
    given = bands @ made * (_LEVEL / (level(_spoken_power(made)) + 1e-3 * usual + 1e-12))
    loud, louder = _loudness(heard, threshold), _loudness(given, threshold)
    masked = 0.25 * torch.minimum(loud, louder).detach()
    apart = ((louder - loud).abs() - masked).clamp(min=0.0)
    added = ((given + 50.0) / (heard + 50.0)).pow(1.2).detach()
    added = torch.where(added < 3.0, 0.0, added.clamp(max=12.0))  # what is new disturbs more
    weight = ((heard.sum(dim=1) + 1e5) / 1e7) ** -0.04
    both = _root((apart.square().mean(dim=1) + 1e-8).sqrt() * weight)
    return 1.2 * both + 0.01 * _root((apart * added).mean(dim=1) * weight)


def _root(frames: Tensor) -> Tensor:
    """(B, T) -> (B,): root of the mean square."""
    return (frames.square().mean(dim=1) + 1e-8).sqrt()


def _loudness(power: Tensor, threshold: Tensor) -> Tensor:
    """Zwicker's law; `power` (B, bands, T) and `threshold` (bands, 1) over 0 dB of hearing."""
    gained = (0.5 + 0.5 * power / threshold) ** _EXPONENT - 1.0
    return 0.187 * (threshold / 0.5) ** _EXPONENT * gained


def _spoken_power(power: Tensor) -> Tensor:
    """(B, 257, T) -> (B, T): power from 350 to 3250 Hz, where PESQ brings both to one level."""
    hertz = _hertz()
    inside = (hertz >= 350.0) & (hertz < 3250.0)
    return power[:, inside.to(power.device)].sum(dim=1)


def _normal(part: Tensor, dim: int) -> Tensor:
    part = part - part.mean(dim=dim, keepdim=True)
    return part / (part.square().sum(dim=dim, keepdim=True) + 1e-8).sqrt()


def _hertz() -> Tensor:
    return torch.arange(_BINS) * (RATE / 2.0 / (_BINS - 1))


@lru_cache
def _thirds() -> Tensor:
    """(15, 257): third octaves from 150 Hz."""
    hertz = _hertz()
    centres = 150.0 * 2.0 ** (torch.arange(15) / 3.0)[:, None]
    inside = (hertz >= centres * 2.0 ** (-1.0 / 6.0)) & (hertz < centres * 2.0 ** (1.0 / 6.0))
    return inside.float()


@lru_cache
def _barks() -> tuple[Tensor, Tensor]:
    """Half-Bark triangles (bands, 257), and the least power that is heard (bands, 1)."""
    hertz = _hertz()
    bark = 6.0 * torch.asinh(hertz / 600.0)
    centres = torch.linspace(float(bark[1]), float(bark[-1]), 40)
    width = centres[1] - centres[0]
    bands = (1.0 - (bark - centres[:, None]).abs() / width).clamp(min=0.0)
    bands[:, 0] = 0.0
    kept = bands.sum(dim=1) > 0.0
    kilohertz = 0.6 * torch.sinh(centres[kept] / 6.0)
    decibels = (
        3.64 * kilohertz**-0.8
        - 6.5 * torch.exp(-0.6 * (kilohertz - 3.3) ** 2)
        + 1e-3 * kilohertz**4
    )  # Terhardt 1979
    return bands[kept], (10.0 ** (decibels / 10.0))[:, None]
