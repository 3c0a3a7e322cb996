"""What every recipe of the speech engines shares: data, validation, and most of the model card."""

from __future__ import annotations

import queue
import threading
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engines.speech.mix import Mixer, level_gain
from engines.speech.samplers import Noise
from engines.speech.small import STFT
from engines.training.loop import Batch, Recipe
from engines.training.sounds import NOISE, RATE, SPEECH, Sounds, noise, speech

_HELD_VOICES = ("tuxpaint-el", "klettres-da")
_HELD_NOISE_EVERY = 15


class SpeechRecipe(Recipe):
    """Noisy and clean sounds in batches; a subclass adds network, loss and how it is used.

    Args:
        name: of the recipe and of the file that it makes.
        title: for people.
        note: one line that says plainly what the weights are.
        network_id: id of the network (`engines.weights`).
        settings: its constructor settings.
        batch: examples of a step.
        samples: length of an example.
        held: mixtures of each ratio in a validation.
        dry: share of the examples whose target is without the late sound of the room.
    """

    def __init__(
        self,
        name: str,
        title: str,
        *,
        note: str,
        network_id: str,
        settings: dict[str, Any],
        batch: int,
        samples: int,
        held: int,
        dry: float = 0.5,
    ) -> None:
        self.name = name
        self.title = title
        self.note = note
        self.network_id = network_id
        self.settings = settings
        self.batch = batch
        self.samples = samples
        self.held = held
        self._dry = dry

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load speech and noise, and set some voices and noises aside."""
        voices, noises = speech(cache, data), noise(cache, data)
        held = {name: waves for name, waves in voices.groups.items() if name in _HELD_VOICES}
        kept = {name: waves for name, waves in voices.groups.items() if name not in held}
        held = held or {"first": next(iter(voices.groups.values()))[:20]}
        aside = {name: waves[::_HELD_NOISE_EVERY] for name, waves in noises.groups.items()}
        others = {
            name: [wave for place, wave in enumerate(waves) if place % _HELD_NOISE_EVERY]
            for name, waves in noises.groups.items()
        }
        self.mixer = Mixer(
            Sounds(kept or voices.groups),
            Sounds({name: waves for name, waves in others.items() if waves} or noises.groups),
            self.samples,
            dry=self._dry,
        )
        self._held = Mixer(Sounds(held), Sounds(aside), 4 * RATE, rooms=20)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"noisy", "clean": (B, N), "dry": (B,)}, mixed beside the training."""
        return _ahead(self._drawn(seed), 4)

    def _drawn(self, seed: int) -> Iterator[Batch]:
        random = np.random.default_rng(seed)
        while True:
            drawn = [self.mixer.example(random) for _ in range(self.batch)]
            yield {
                "noisy": torch.from_numpy(np.stack([one.noisy for one in drawn])),
                "clean": torch.from_numpy(np.stack([one.clean for one in drawn])),
                "dry": torch.tensor([one.dry for one in drawn]),
            }

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """SI-SDR gain in dB on held-out voices and noises, at three ratios, and what a clean
        input keeps; the picture shows spectrograms of noisy, estimate and clean.
        """
        device = next(network.parameters()).device
        figures: dict[str, float] = {}
        rows: list[NDArray[np.uint8]] = []
        for ratio in (0.0, 5.0, 10.0, 60.0):
            random = np.random.default_rng(11)
            before = after = 0.0
            for number in range(self.held):
                noisy, clean = held_out(self._held, random, ratio)
                made = self.restored(network, noisy, device)
                before += si_sdr(clean, noisy) / self.held
                after += si_sdr(clean, made) / self.held
                if ratio == 5.0 and number < 3:
                    rows.append(np.concatenate([_show(w) for w in (noisy, made, clean)], axis=1))
            name = "clean_si_sdr_db" if ratio == 60.0 else f"gain_{ratio:.0f}db_db"
            figures[name] = after - (0.0 if ratio == 60.0 else before)
        cv2.imwrite(str(figure), np.concatenate(rows, axis=0))
        return figures

    @abstractmethod
    def restored(
        self, network: nn.Module, noisy: NDArray[np.float32], device: torch.device
    ) -> NDArray[np.float32]:
        """What the network makes of one sound, (N,) at the run-time level."""

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": self.network_id,
            "config": self.settings,
            "title": self.title,
            "note": self.note,
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": "speech and sounds of the Debian packages "
            + ", ".join(f"{name} ({licence})" for name, licence in (SPEECH | NOISE).items()),
            "held_out": list(_HELD_VOICES),
        }


def seeded_noise(device: torch.device) -> Noise:
    """Noise for a sampler in a validation, the same at every one."""
    random = torch.Generator().manual_seed(1)
    return lambda _, shape: torch.randn(shape, dtype=torch.complex64, generator=random).to(device)


def held_out(
    mixer: Mixer, random: np.random.Generator, ratio: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Noisy and clean at a ratio of `ratio` dB, at the run-time level."""
    voice, disturbance = mixer.voice(random), mixer.noise(random)
    power = float(np.square(voice).mean() / (np.square(disturbance).mean() + 1e-12))
    noisy = voice + disturbance * np.float32(np.sqrt(power * 10.0 ** (-ratio / 10.0)))
    gain = level_gain(noisy)
    return (noisy * gain).astype(np.float32), (voice * gain).astype(np.float32)


def si_sdr(clean: NDArray[np.float32], estimate: NDArray[np.float32]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB, without removal of the mean."""
    s, e = clean.astype(np.float64), estimate.astype(np.float64)
    target = s * (e @ s / (s @ s + 1e-12))
    return float(10.0 * np.log10((target @ target + 1e-12) / (np.sum((e - target) ** 2) + 1e-12)))


def _ahead(batches: Iterator[Batch], depth: int) -> Iterator[Batch]:
    """The same batches in the same order, made by a thread while the caller computes."""
    ready: queue.Queue[Batch] = queue.Queue(depth)
    gone = threading.Event()

    def fill() -> None:
        for batch in batches:
            while not gone.is_set():
                try:
                    ready.put(batch, timeout=0.5)
                    break
                except queue.Full:
                    continue
            if gone.is_set():
                return

    thread = threading.Thread(target=fill, daemon=True)
    thread.start()
    try:
        while True:
            yield ready.get()
    finally:
        gone.set()
        thread.join()


def _show(wave: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Spectrogram as a grey picture, low frequencies at the bottom, 60 dB."""
    modulus = STFT.forward(torch.from_numpy(wave)).abs().numpy()
    level = 20.0 * np.log10(modulus + 1e-3) - 20.0
    return (np.clip((level + 50.0) / 70.0, 0.0, 1.0) * 255.0).astype(np.uint8)[::-1]
