"""Noise that is made rather than recorded: the kinds that spoil speech, with random parameters.

Every maker gives (n,) float32 of any level. Real noise that may be redistributed is scarce, so
half of what a network learns from is drawn here.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Wave = NDArray[np.float32]
Maker = Callable[[np.random.Generator, int, int], Wave]


def coloured(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """Gaussian noise with a spectrum of 1/f^k (k from -1 to 3) and a random equaliser."""
    return shape(random.standard_normal(samples), random, rate, random.uniform(-1.0, 3.0))


def modulated(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """Coloured noise that swells and ebbs, as wind, surf and passing cars do."""
    swell = slow_curve(random, samples, rate, 0.2, 3.0, 30.0)
    return coloured(random, samples, rate) * swell


def wind(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """Rumble below 300 Hz in gusts."""
    low = shape(random.standard_normal(samples), random, rate, random.uniform(2.0, 4.0))
    return low * slow_curve(random, samples, rate, 0.3, 4.0, 40.0)


def hum(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """Mains hum with harmonics, drifting a little, over faint hiss."""
    base = random.choice([50.0, 60.0, 100.0, 120.0]) * (1.0 + 0.002 * random.standard_normal())
    return _harmonics(random, samples, rate, base, drift=0.0005)


def machine(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """Engines and fans: harmonics of a turning part that speeds up and down, and band noise."""
    tones = _harmonics(random, samples, rate, random.uniform(15.0, 300.0), drift=0.03)
    band = coloured(random, samples, rate)
    both = tones / rms(tones) + random.uniform(0.2, 2.0) * band / rms(band)
    return both.astype(np.float32)


def clicks(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """Keyboards, clatter, rain and crackle: short decaying bursts at random times."""
    rhythm = random.choice([4.0, 12.0, 60.0, 600.0])
    count = max(int(random.poisson(rhythm * samples / rate)), 1)
    impulses = np.zeros(samples)
    impulses[random.integers(samples, size=count)] = random.lognormal(0.0, 0.8, count)
    impulses *= random.choice([-1.0, 1.0], samples)
    length = int(rate * random.uniform(0.002, 0.06))
    body = random.standard_normal(length) * np.exp(-6.0 * np.arange(length) / length)
    body = shape(body, random, rate, random.uniform(-1.0, 1.0))
    size = 1 << (samples + length - 1).bit_length()
    wave = np.fft.irfft(np.fft.rfft(impulses, size) * np.fft.rfft(body, size), size)[:samples]
    return wave.astype(np.float32)


def tones(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """Beeps, whistles and chirps: a few gliding sinusoids that come and go."""
    time = np.arange(samples) / rate
    wave = np.zeros(samples)
    for _ in range(int(random.integers(1, 4))):
        start = np.exp(random.uniform(np.log(200.0), np.log(6000.0)))
        glide = random.choice([0.0, 0.0, 1.0]) * random.uniform(-0.3, 0.3) * start
        phase = 2.0 * np.pi * (start * time + 0.5 * glide * time**2 / time[-1])
        gate = slow_curve(random, samples, rate, 0.5, 6.0, 60.0) > random.uniform(0.05, 0.5)
        soft = np.convolve(gate, np.full(rate // 200, 200.0 / rate), mode="same")
        wave += np.sin(phase) * soft
    return (wave + 1e-3 * random.standard_normal(samples)).astype(np.float32)


MAKERS: tuple[tuple[Maker, float], ...] = (
    (coloured, 0.25),
    (modulated, 0.22),
    (wind, 0.08),
    (hum, 0.1),
    (machine, 0.15),
    (clicks, 0.14),
    (tones, 0.06),
)


def made(random: np.random.Generator, samples: int, rate: int) -> Wave:
    """One or two of the kinds above, drawn by their shares."""
    shares = [share for _, share in MAKERS]
    wave = np.zeros(samples, np.float32)
    for _ in range(2 if random.random() < 0.3 else 1):
        maker = MAKERS[int(random.choice(len(MAKERS), p=shares))][0]
        part = maker(random, samples, rate)
        wave += part * np.float32(random.uniform(0.3, 1.0) / rms(part))
    return wave


def shape(wave: NDArray[np.floating], random: np.random.Generator, rate: int, slope: float) -> Wave:
    """Filter to a power spectrum of 1/f^slope times a smooth random equaliser of +-10 dB."""
    spectrum = np.fft.rfft(wave)
    frequency = np.linspace(0.0, rate / 2.0, len(spectrum))
    colour = (np.maximum(frequency, 40.0) / 1000.0) ** (-slope / 2.0)
    return np.fft.irfft(spectrum * colour * equaliser(random, frequency, 10.0), len(wave)).astype(
        np.float32
    )


def equaliser(
    random: np.random.Generator, frequency: NDArray[np.floating], decibels: float
) -> NDArray[np.float64]:
    """Gains at `frequency` (Hz): random points over octaves, joined smoothly."""
    places = np.log2(np.maximum(frequency, 50.0))
    points = np.sort(random.uniform(np.log2(50.0), np.log2(max(frequency[-1], 100.0)), 6))
    return 10.0 ** (np.interp(places, points, random.uniform(-decibels, decibels, 6)) / 20.0)


def slow_curve(
    random: np.random.Generator, samples: int, rate: int, low: float, high: float, depth: float
) -> Wave:
    """A positive curve that moves `low` to `high` times a second over up to `depth` dB."""
    points = max(int(samples / rate * random.uniform(low, high)), 1) + 3
    levels = random.uniform(-random.uniform(3.0, depth), 0.0, points)
    positions = np.linspace(0.0, points - 1.0, samples)
    return (10.0 ** (np.interp(positions, np.arange(points), levels) / 20.0)).astype(np.float32)


def rms(wave: NDArray[np.number]) -> float:
    """Root mean square, never 0."""
    return float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))) + 1e-9


def _harmonics(
    random: np.random.Generator, samples: int, rate: int, base: float, drift: float
) -> Wave:
    """Decaying harmonics of a base frequency that wanders, over faint coloured hiss."""
    steps = random.standard_normal(samples // 64 + 2)
    walk = np.asarray(lfilter([0.002], [1.0, -0.998], steps))
    speed = 1.0 + drift * np.interp(
        np.arange(samples) / 64.0, np.arange(len(walk)), walk / max(rms(walk), 1e-9)
    )
    phase = 2.0 * np.pi * base * np.cumsum(speed) / rate
    wave = np.zeros(samples)
    decay = random.uniform(0.6, 1.0)
    for number in range(1, int(random.integers(3, 24))):
        if number * base > 0.45 * rate:
            break
        height = decay**number * random.uniform(0.2, 1.0)
        wave += height * np.sin(number * phase + random.uniform(0.0, 2.0 * np.pi))
    hiss = coloured(random, samples, rate)
    return (wave / rms(wave) + random.uniform(0.01, 0.5) * hiss / rms(hiss)).astype(np.float32)
