"""A sound font of one buzzing note, as instrument 0 and as drum kit, to play phrases on."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_RATE = 22_050
_END_LOOP, _INSTRUMENT, _SAMPLE, _MODES = 0, 41, 53, 54


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _list(name: bytes, *chunks: bytes) -> bytes:
    return _chunk(b"LIST", name + b"".join(chunks))


def write_sound_font(path: Path) -> Path:
    """Write it; returns the path."""
    time = np.arange(_RATE) / _RATE
    buzz = np.sum([np.sin(2 * np.pi * 220.0 * n * time) / n for n in range(1, 6)], axis=0)
    wave = (buzz * 8000.0).astype("<i2")
    header = "<20sHHHIII"
    presets = b"".join(
        struct.pack(header, name, 0, bank, bag, 0, 0, 0)
        for name, bank, bag in ((b"Buzz", 0, 0), (b"Kit", 128, 1), (b"EOP", 0, 2))
    )
    generators = struct.pack("<HHHHHH", _INSTRUMENT, 0, _INSTRUMENT, 0, 0, 0)
    sample = struct.pack(
        "<20sIIIIIBbHH", b"Buzz", 0, len(wave), 100, len(wave) - 100, _RATE, 57, 0, 0, 1
    ) + struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    pdta = _list(
        b"pdta",
        _chunk(b"phdr", presets),
        _chunk(b"pbag", struct.pack("<HHHHHH", 0, 0, 1, 0, 2, 0)),
        _chunk(b"pmod", b"\0" * 10),
        _chunk(b"pgen", generators),
        _chunk(b"inst", struct.pack("<20sH20sH", b"Buzz", 0, b"EOI", 1)),
        _chunk(b"ibag", struct.pack("<HHHH", 0, 0, 2, 0)),
        _chunk(b"imod", b"\0" * 10),
        _chunk(b"igen", struct.pack("<HHHHHH", _MODES, 1, _SAMPLE, 0, 0, 0)),
        _chunk(b"shdr", sample),
    )
    info = _list(b"INFO", _chunk(b"ifil", struct.pack("<HH", 2, 1)), _chunk(b"INAM", b"Buzz\0\0"))
    sdta = _list(b"sdta", _chunk(b"smpl", wave.tobytes() + b"\0" * 92))
    path.write_bytes(_chunk(b"RIFF", b"sfbk" + info + sdta + pdta))
    return path
