"""Sounds that can be made convincingly: tones of telephones, sirens, bells, rain, hum, ticking.

Every maker takes a generator and a number of samples and gives (samples,) float32 at 16 kHz of
any level; what it draws differs from call to call as one specimen of the thing from another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engines.training.sounds import RATE

Wave = NDArray[np.float32]
Floats = NDArray[np.float64]
Maker = Callable[[np.random.Generator, int], Wave]

_KEYS = [(a, b) for a in (697, 770, 852, 941) for b in (1209, 1336, 1477)]
_MORSE = (".-", "-...", "-.-.", "-..", ".", "..-.", "--.", "....", "..", "-.-", ".-..", "--",
          "-.", "---", ".--.", ".-.", "...", "-", "..-", "...-", ".--")  # fmt: skip


def make(name: str, random: np.random.Generator, samples: int) -> Wave:
    """One specimen of the named sound."""
    return np.asarray(MAKERS[name](random, samples), dtype=np.float32)


def _time(samples: int) -> Floats:
    return np.arange(samples) / RATE


def _tones(frequencies: tuple[float, ...], samples: int) -> Floats:
    time = _time(samples)
    return sum((np.sin(2 * np.pi * f * time) for f in frequencies), np.zeros(samples))


def _shaped(random: np.random.Generator, samples: int, gain: Callable[[Floats], Floats]) -> Floats:
    """Gaussian noise whose spectrum is `gain` of the frequency in Hz."""
    frequency = np.fft.rfftfreq(samples, 1.0 / RATE).astype(np.float64)
    spectrum = np.fft.rfft(random.normal(size=samples)) * gain(frequency)
    return np.fft.irfft(spectrum, samples)


def _slow(random: np.random.Generator, samples: int, rate: float, low: float) -> Floats:
    """A smooth random curve between `low` and 1 that changes about `rate` times a second."""
    points = max(int(samples / RATE * rate) + 2, 3)
    knots = random.uniform(low, 1.0, points)
    return np.interp(np.linspace(0, points - 1, samples), np.arange(points), knots)


def _gated(wave: Floats, on: float, off: float) -> Floats:
    """On and off in turn, seconds each, with edges of 4 ms."""
    time = _time(len(wave)) % (on + off)
    return wave * np.clip(np.minimum(time, on - time) / 0.004, 0.0, 1.0)


def _square(frequency: Floats) -> Floats:
    """Odd harmonics below 7 kHz of a frequency curve in Hz."""
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    top = float(frequency.max())
    orders = [n for n in (1, 3, 5, 7, 9) if n * top < 7000.0]
    return sum((np.sin(n * phase) / n for n in orders), np.zeros(len(frequency)))


def _place(samples: int, starts: Floats, hit: Callable[[], Floats]) -> Floats:
    """Hits added at the starts, given in seconds."""
    wave = np.zeros(samples)
    for start in starts:
        place = int(start * RATE)
        if 0 <= place < samples:
            one = hit()[: samples - place]
            wave[place : place + len(one)] += one
    return wave


def _poisson(random: np.random.Generator, samples: int, rate: float) -> Floats:
    count = int(random.poisson(rate * samples / RATE))
    return random.uniform(0.0, samples / RATE, count)


def _ringing(
    random: np.random.Generator, base: float, partials: Floats, decay: float, seconds: float
) -> Floats:
    """A struck body: partials at multiples of a base in Hz, the high ones dying sooner."""
    time = _time(int(seconds * RATE))
    wave = np.zeros_like(time)
    for order, ratio in enumerate(partials):
        if base * ratio < 7600.0:
            level = random.uniform(0.3, 1.0) / (1 + order) ** 0.5
            wave += (
                level
                * np.sin(2 * np.pi * base * ratio * time + random.uniform(0, 6))
                * np.exp(-time / (decay / ratio**0.6))
            )
    return wave


def _dial_tone(random: np.random.Generator, samples: int) -> Wave:
    pair = [(425.0,), (350.0, 440.0), (440.0,), (480.0, 620.0), (400.0, 450.0), (440.0, 480.0)]
    wave = _tones(pair[int(random.integers(len(pair)))], samples)
    on, off = [(0.5, 0.5), (0.25, 0.25), (1.0, 4.0), (2.0, 1.0), (99.0, 0.1)][
        int(random.integers(5))
    ]
    return _gated(wave, on, off).astype(np.float32)


def _dtmf(random: np.random.Generator, samples: int) -> Wave:
    length, gap = random.uniform(0.06, 0.3), random.uniform(0.05, 0.4)
    starts = np.arange(0.0, samples / RATE, length + gap)

    def key() -> Floats:
        pair = _KEYS[int(random.integers(len(_KEYS)))]
        return _gated(_tones(pair, int(length * RATE)), length, 1.0)

    return _place(samples, starts, key).astype(np.float32)


def _ring(random: np.random.Generator, samples: int) -> Wave:
    """A bell telephone, two gongs struck in turn, or an electronic trill."""
    on, off = random.uniform(0.8, 2.0), random.uniform(0.6, 3.0)
    if random.random() < 0.5:
        partials = np.array([1.0, 2.7, 5.2, 4.1])
        base = random.uniform(700.0, 1300.0)
        starts = np.arange(0.0, samples / RATE, 1.0 / random.uniform(18.0, 28.0))
        hits = [_ringing(random, base * r, partials, 0.25, 0.3) for r in (1.0, 1.17)]
        turn = iter(np.arange(len(starts) + 1) % 2)
        wave = _place(samples, starts, lambda: hits[next(turn)])
    else:
        low = random.uniform(500.0, 1400.0)
        high = low * random.uniform(1.1, 1.5)
        which = (_time(samples) * random.uniform(8.0, 25.0)) % 1.0 < 0.5
        wave = _square(np.where(which, low, high))
    return _gated(wave, on, off).astype(np.float32)


def _siren(random: np.random.Generator, samples: int) -> Wave:
    """Wail, yelp, or two tones."""
    time = _time(samples) + random.uniform(0.0, 5.0)
    low = random.uniform(380.0, 700.0)
    high = low * random.uniform(1.25, 2.4)
    kind = random.random()
    if kind < 0.4:
        curve = 0.5 - 0.5 * np.cos(2 * np.pi * time * random.uniform(0.12, 0.4))
    elif kind < 0.7:
        curve = (time * random.uniform(1.5, 4.5)) % 1.0
        if random.random() < 0.5:
            curve = 1.0 - np.abs(2.0 * curve - 1.0)
    else:
        curve = ((time * random.uniform(0.6, 1.3)) % 1.0 < 0.5).astype(float)
    wave = _square(low + (high - low) * curve)
    if random.random() < 0.5:
        wave = np.tanh(2.0 * wave) + 0.1 * np.sin(3.0 * wave)
    return wave.astype(np.float32)


def _alarm(random: np.random.Generator, samples: int) -> Wave:
    pitch = random.uniform(800.0, 3400.0)
    wave = _square(np.full(samples, pitch)) if random.random() < 0.6 else _tones((pitch,), samples)
    on = random.uniform(0.05, 0.25)
    wave = _gated(wave, on, random.uniform(0.05, 0.2))
    return _gated(wave, random.uniform(0.4, 1.2), random.uniform(0.0, 0.8)).astype(np.float32)


def _beep(random: np.random.Generator, samples: int) -> Wave:
    wave = _tones((random.uniform(300.0, 2600.0),), samples)
    return _gated(wave, random.uniform(0.08, 0.8), random.uniform(0.3, 1.5)).astype(np.float32)


def _morse(random: np.random.Generator, samples: int) -> Wave:
    unit, pitch = random.uniform(0.045, 0.11), random.uniform(450.0, 1000.0)
    wave = np.zeros(samples)
    place = 0
    while place < samples:
        for sign in _MORSE[int(random.integers(len(_MORSE)))]:
            length = unit * (3 if sign == "-" else 1)
            one = _gated(_tones((pitch,), int(length * RATE)), length, 1.0)
            one = one[: max(samples - place, 0)]
            wave[place : place + len(one)] += one
            place += int((length + unit) * RATE)
        place += int(2 * unit * RATE)
    return wave.astype(np.float32)


def _ticking(random: np.random.Generator, samples: int) -> Wave:
    gap = random.choice([0.2, 0.25, 0.4, 0.5, 0.5, 1.0])
    starts = np.arange(random.uniform(0.0, gap), samples / RATE, gap)
    bodies = [
        _ringing(
            random, random.uniform(900.0, 3200.0), np.array([1.0, 1.6, 2.4, 3.3]),
            random.uniform(0.004, 0.02), 0.08,
        )
        for _ in range(2)
    ]  # fmt: skip
    turn = iter(np.arange(len(starts) + 1) % 2)
    return _place(samples, starts, lambda: bodies[next(turn)]).astype(np.float32)


def _bell(random: np.random.Generator, samples: int) -> Wave:
    base = random.uniform(110.0, 420.0)
    partials = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.51, 2.66, 3.01, 4.16, 5.43])
    starts = np.arange(random.uniform(0.0, 0.5), samples / RATE, random.uniform(0.7, 2.5))
    tone = _ringing(random, base, partials, random.uniform(1.0, 4.0), 5.0)
    tone[:80] += random.normal(size=80) * 0.3
    return _place(samples, starts, lambda: tone * random.uniform(0.6, 1.0)).astype(np.float32)


def _small_bell(random: np.random.Generator, samples: int) -> Wave:
    partials = np.array([1.0, 2.0, 2.76, 4.1, 5.4])
    if random.random() < 0.4:  # jingles
        rate = random.uniform(4.0, 14.0)
        return _place(
            samples,
            _poisson(random, samples, rate),
            lambda: _ringing(random, random.uniform(2500.0, 5200.0), partials, 0.15, 0.5),
        ).astype(np.float32)
    base = random.uniform(600.0, 2400.0)
    pair = [_ringing(random, base * r, partials, random.uniform(0.4, 1.5), 2.0) for r in (1, 0.8)]
    starts = np.arange(random.uniform(0.0, 0.4), samples / RATE, random.uniform(0.3, 1.2))
    turn = iter(np.arange(len(starts) + 1) % 2)
    return _place(samples, starts, lambda: pair[next(turn)]).astype(np.float32)


def _gong(random: np.random.Generator, samples: int) -> Wave:
    base = random.uniform(60.0, 180.0)
    partials = np.sort(random.uniform(1.0, 14.0, 40))
    partials[0] = 1.0

    def hit() -> Floats:
        return _ringing(random, base, partials, random.uniform(3.0, 6.0), 5.0)

    starts = np.arange(random.uniform(0.0, 0.5), samples / RATE, random.uniform(1.5, 4.0))
    return _place(samples, starts, hit).astype(np.float32)


def _rain(random: np.random.Generator, samples: int) -> Wave:
    tilt = random.uniform(0.0, 0.8)
    cut = random.uniform(200.0, 1200.0)
    hiss = _shaped(random, samples, lambda f: (f > cut) / np.maximum(f, cut) ** tilt)
    hiss = hiss / hiss.std()
    hard = random.uniform(40.0, 400.0)

    def drop() -> Floats:
        length = int(random.uniform(0.002, 0.012) * RATE)
        time = _time(length)
        pitch = random.uniform(900.0, 5500.0)
        return random.exponential(2.5) * np.sin(2 * np.pi * pitch * time) * np.exp(-time * 450.0)

    drops = _place(samples, _poisson(random, samples, hard), drop)
    return (hiss * _slow(random, samples, 0.5, 0.7) + drops).astype(np.float32)


def _wind(random: np.random.Generator, samples: int) -> Wave:
    wave = np.zeros(samples)
    for _ in range(3):
        centre, width = random.uniform(80.0, 700.0), random.uniform(0.15, 0.6)
        band = _shaped(
            random, samples,
            lambda f, c=centre, w=width: np.exp(-((np.log(np.maximum(f, 1.0) / c) / w) ** 2)),
        )  # fmt: skip
        wave += band / band.std() * _slow(random, samples, random.uniform(0.4, 1.5), 0.1) ** 2
    return wave.astype(np.float32)


def _drops(random: np.random.Generator, samples: int) -> Wave:
    def drop() -> Floats:
        time = _time(int(0.08 * RATE))
        rise = random.uniform(600.0, 1900.0) * (1.0 + random.uniform(1.0, 6.0) * time)
        wave = np.sin(2 * np.pi * np.cumsum(rise) / RATE) * np.exp(-time * random.uniform(40, 110))
        return wave * random.uniform(0.5, 1.0)

    gap = random.uniform(0.15, 1.0)
    starts = np.arange(0.0, samples / RATE, gap) + random.uniform(0.0, gap / 2)
    return _place(samples, starts, drop).astype(np.float32)


def _engine(random: np.random.Generator, samples: int) -> Wave:
    """Firing strokes through a body, the speed drifting."""
    speed = random.uniform(18.0, 70.0) * (0.85 + 0.3 * _slow(random, samples, 0.5, 0.0))
    phase = np.cumsum(speed) / RATE
    strokes = np.diff(np.floor(phase), prepend=0.0) * random.uniform(0.7, 1.3, samples)
    pitch = random.uniform(70.0, 220.0)
    time = _time(int(0.06 * RATE))
    body = np.exp(-time * random.uniform(40.0, 110.0)) * (
        np.sin(2 * np.pi * pitch * time) + 0.3 * random.normal(size=len(time))
    )
    wave = np.convolve(strokes, body)[:samples]
    rumble = _shaped(random, samples, lambda f: 1.0 / (1.0 + (f / 250.0) ** 2))
    return (wave / wave.std() + 0.3 * rumble / rumble.std()).astype(np.float32)


def _horn(random: np.random.Generator, samples: int) -> Wave:
    low = random.uniform(300.0, 480.0)
    wave = np.tanh(3.0 * _tones((low, low * random.choice([1.2, 1.25, 1.335])), samples))
    wave += 0.4 * _square(np.full(samples, 2.0 * low))
    return _gated(wave, random.uniform(0.15, 1.2), random.uniform(0.1, 1.0)).astype(np.float32)


def _foghorn(random: np.random.Generator, samples: int) -> Wave:
    low = random.uniform(70.0, 330.0)
    chord = tuple(low * r for r in (1.0, random.choice([1.25, 1.5, 2.0]), 2.0))
    wave = np.tanh(2.0 * _tones(chord, samples))
    breath = _shaped(random, samples, lambda f: 1.0 / (1.0 + (f / 1500.0) ** 2))
    wave = wave + 0.15 * breath / breath.std()
    return _gated(wave, random.uniform(1.0, 3.0), random.uniform(0.5, 2.0)).astype(np.float32)


def _fan(random: np.random.Generator, samples: int) -> Wave:
    corner = random.uniform(200.0, 1500.0)
    wave = _shaped(random, samples, lambda f: 1.0 / (1.0 + (f / corner) ** 1.5))
    blade = random.uniform(60.0, 300.0)
    tone = _tones((blade, 2 * blade, 3 * blade), samples)
    return (wave / wave.std() + random.uniform(0.05, 0.5) * tone).astype(np.float32)


def _hum(random: np.random.Generator, samples: int) -> Wave:
    base = random.choice([50.0, 60.0, 100.0, 120.0])
    time = _time(samples)
    wave = np.zeros(samples)
    fall = random.uniform(0.5, 1.8)
    for order in range(1, int(random.integers(4, 22))):
        wave += (
            random.uniform(0.1, 1.0)
            / order**fall
            * np.sin(2 * np.pi * base * order * time + random.uniform(0, 6))
        )
    return wave.astype(np.float32)


def _static(random: np.random.Generator, samples: int) -> Wave:
    tilt, low = random.uniform(-0.6, 0.7), random.uniform(50.0, 600.0)
    high = random.uniform(3000.0, 8000.0)
    wave = _shaped(random, samples, lambda f: ((f > low) & (f < high)) / np.maximum(f, low) ** tilt)
    return (wave * _slow(random, samples, 3.0, random.uniform(0.5, 1.0))).astype(np.float32)


def _typing(random: np.random.Generator, samples: int) -> Wave:
    keys = [
        _ringing(
            random, random.uniform(350.0, 2600.0), np.array([1.0, 1.9, 2.7, 3.9]),
            random.uniform(0.004, 0.015), 0.06,
        ) + np.pad(random.normal(size=60) * 0.3, (0, int(0.06 * RATE) - 60))
        for _ in range(8)
    ]  # fmt: skip
    gaps = random.gamma(3.0, random.uniform(0.03, 0.08), size=300)
    starts = np.cumsum(gaps)
    return _place(
        samples, starts[starts < samples / RATE],
        lambda: keys[int(random.integers(8))] * random.uniform(0.4, 1.0),
    ).astype(np.float32)  # fmt: skip


def _applause(random: np.random.Generator, samples: int) -> Wave:
    def clap() -> Floats:
        centre = random.uniform(700.0, 2800.0)
        time = _time(int(0.03 * RATE))
        burst = random.normal(size=len(time)) * np.exp(-time * random.uniform(120.0, 350.0))
        return burst * (1.0 + np.sin(2 * np.pi * centre * time)) * random.exponential(1.0)

    rate = random.uniform(40.0, 350.0)
    return _place(samples, _poisson(random, samples, rate), clap).astype(np.float32)


MAKERS: Mapping[str, Maker] = {
    "dialtone": _dial_tone,
    "dtmf": _dtmf,
    "ring": _ring,
    "siren": _siren,
    "alarm": _alarm,
    "beep": _beep,
    "morse": _morse,
    "ticking": _ticking,
    "bell": _bell,
    "smallbell": _small_bell,
    "gong": _gong,
    "rain": _rain,
    "wind": _wind,
    "drops": _drops,
    "engine": _engine,
    "horn": _horn,
    "foghorn": _foghorn,
    "fan": _fan,
    "hum": _hum,
    "static": _static,
    "typing": _typing,
    "applause": _applause,
}
