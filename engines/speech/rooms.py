"""Simulated rooms: impulse responses of shoebox rooms for training and measuring.

First reflections by the image-source method (Allen & Berkley, 1979), and a diffuse tail of
exponentially decaying noise behind them, darker as it decays, since walls and air absorb high
frequencies more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

_SOUND = 343.0  # metres a second
_ORDER = 3  # reflections along each axis that are drawn one by one


def room(random: np.random.Generator, rate: int, decay: float) -> NDArray[np.float32]:
    """One impulse response, (n,) float32; the direct sound is its first sample, of height 1.

    Args:
        random: draws the room's size and the places of voice and microphone.
        rate: samples a second.
        decay: T60, seconds until the sound has fallen by 60 dB.
    """
    size = random.uniform((3.0, 3.0, 2.4), (10.0, 8.0, 4.0))
    voice, microphone = (random.uniform(0.15, 0.85, 3) * size for _ in range(2))
    gap = voice - microphone
    distance = max(float(np.linalg.norm(gap)), 0.3)
    near = random.uniform(0.3, 3.0)
    if distance > near:  # most voices are recorded from arm's length to a table's width
        voice = microphone + gap * (near / distance)
    length = int(rate * min(1.1 * decay, 1.2))
    response = np.zeros(length)
    volume, surface = float(np.prod(size)), 2.0 * float(size @ np.roll(size, 1))
    # Sabine's formula turned round: the share of sound that a wall gives back
    reflection = np.sqrt(np.clip(1.0 - 0.161 * volume / (surface * decay), 0.05, 0.98))
    cells = np.stack(np.meshgrid(*[np.arange(-_ORDER, _ORDER + 1)] * 3), -1).reshape(-1, 3)
    images = np.where(cells % 2 == 0, voice, size - voice) + cells * size
    away = np.linalg.norm(images - microphone, axis=1)
    direct = float(away.min())
    bounces = np.abs(cells).sum(axis=1)
    places = np.round((away - direct) / _SOUND * rate).astype(int)
    signs = random.choice([1.0, -1.0], len(away), p=[0.8, 0.2])
    heights = reflection**bounces * direct / away * signs
    heights[bounces == 0] = 1.0
    inside = places < length
    np.add.at(response, places[inside], heights[inside])
    # The tail takes over where the drawn reflections thin out, at their level.
    time = np.arange(length) / rate
    begin = 2.0 * _ORDER * float(size.min()) / _SOUND / 2.0
    # Energy of a reverberant field against the direct sound at this distance (critical distance).
    critical = 0.057 * np.sqrt(volume / decay)
    energy = (direct / critical) ** 2
    envelope = np.exp(-6.908 * time / decay)
    tail = random.standard_normal(length) * envelope
    dark = fftconvolve(tail, np.full(8, 1.0 / 8.0))[:length]
    blend = np.clip(time / max(decay, 0.1), 0.0, 1.0)
    tail = (1.0 - blend) * tail + 2.0 * blend * dark
    tail *= np.sqrt(energy / max(float((tail**2).sum()), 1e-12))
    rise = np.clip(time / max(begin, 1e-3), 0.0, 1.0)
    response += rise * tail
    response[0] = 1.0
    return response.astype(np.float32)


def early(response: NDArray[np.float32], rate: int, milliseconds: float) -> NDArray[np.float32]:
    """The response's first `milliseconds`, faded out over their last third."""
    length = min(round(rate * milliseconds / 1000.0), len(response))
    fade = np.clip((length - np.arange(length)) / (length / 3.0), 0.0, 1.0).astype(np.float32)
    return response[:length] * fade
