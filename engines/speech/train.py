"""Recipe `storm-small-predictive`: StoRM's predictive part, trained on speech mixed with noise.

The loss is taken on the sound itself, so it sees what overlapping frames make of a mask: moduli
raised to 0.3, with and without phase, and the ratio of signal to error in dB, limited at 30 dB so
that examples that are already clean do not count for more than the others.

On one CPU core a batch of 8 x 3 s takes 0.8 s; expected after 100 minutes (7 500 steps): +9 dB
SI-SDR at 0 dB on held-out voices and noises.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.speech.mix import Mixer, level_gain
from engines.speech.small import SmallStorm
from engines.training.loop import Batch, TrainConfig
from engines.training.sounds import NOISE, RATE, SPEECH, Sounds, noise, speech
from kernels.stft import Stft, compress, expand

STFT = Stft(512, 256, "sqrt-hann")
EXPONENT, FACTOR = 0.5, 0.13
_JUDGE = Stft(512, 192, "hann")
_FLOOR = 0.03  # in the units of `_JUDGE`, where the mean level is about 4
_HELD_VOICES = ("tuxpaint-el", "klettres-da")
_HELD_NOISE_EVERY = 15


class PredictiveRecipe:
    """Data, loss and validation of the predictive network (see the module's text)."""

    def __init__(
        self,
        name: str,
        title: str,
        widths: Sequence[int],
        blocks: Sequence[int],
        batch: int = 8,
        seconds: float = 2.0,
        note: str = "",
        held: int = 16,
    ) -> None:
        self.name = name
        self.title = title
        self.note = note
        self.settings = {"widths": list(widths), "blocks": list(blocks), "refiner": False}
        self.batch = batch
        self.held = held  # mixtures of each ratio in a validation
        self.samples = round(seconds * RATE)
        self.config = TrainConfig(
            rate=2.5e-3, average=0.999, weight_decay=1e-4, clip=1.0, half=True
        )

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        torch.manual_seed(self.config.seed)
        network = SmallStorm(**self.settings)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See the module's text."""
        noisy, clean = batch["noisy"], batch["clean"]
        y = compress(STFT.forward(noisy), EXPONENT, FACTOR)
        # Convolutions in bfloat16 take half the time; complex arithmetic stays in float32.
        with torch.autocast(noisy.device.type, torch.bfloat16):
            made = network.denoiser(y, batch["dry"])  # type: ignore[operator]
        return speech_loss(sound(made, clean.shape[-1]), clean, noisy)

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
                made = self._restored(network, noisy, device)
                before += si_sdr(clean, noisy) / self.held
                after += si_sdr(clean, made) / self.held
                if ratio == 5.0 and number < 3:
                    rows.append(np.concatenate([_show(w) for w in (noisy, made, clean)], axis=1))
            name = "clean_si_sdr_db" if ratio == 60.0 else f"gain_{ratio:.0f}db_db"
            figures[name] = after - (0.0 if ratio == 60.0 else before)
        cv2.imwrite(str(figure), np.concatenate(rows, axis=0))
        return figures

    def _restored(
        self, network: nn.Module, noisy: NDArray[np.float32], device: torch.device
    ) -> NDArray[np.float32]:
        y = compress(STFT.forward(torch.from_numpy(noisy)[None].to(device)), EXPONENT, FACTOR)
        made = network.denoiser(y, torch.zeros(1, device=device))  # type: ignore[operator]
        return sound(made, noisy.shape[0])[0].cpu().numpy()

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": "speech.storm/small",
            "config": self.settings,
            "title": self.title,
            "note": self.note,
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": "speech and sounds of the Debian packages "
            + ", ".join(f"{name} ({licence})" for name, licence in (SPEECH | NOISE).items()),
            "held_out": list(_HELD_VOICES),
        }


def sound(spec: Tensor, samples: int) -> Tensor:
    """Compressed spectrogram (B, 257, T) -> sound (B, samples)."""
    return STFT.inverse(expand(spec, EXPONENT, FACTOR), samples)


def speech_loss(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Loss of sounds (B, N) against `clean`, at the level of `noisy`."""
    scale = 0.3 / (noisy.square().mean(dim=-1, keepdim=True).sqrt() + 1e-4)
    estimate, clean = estimate * scale, clean * scale
    made, of_made = _judged(estimate)
    wanted, of_wanted = _judged(clean)
    moduli = (of_made - of_wanted).square().mean()
    phases = torch.view_as_real(made - wanted).square().sum(dim=-1).mean()
    power = clean.square().sum(dim=-1)
    error = (estimate - clean).square().sum(dim=-1)
    spoken = power > 1e-3 * clean.shape[-1]
    ratio = 10.0 * torch.log10((error + 1e-3 * power + 1e-4) / (power + 1e-4))
    return 0.7 * moduli + 0.3 * phases + 0.01 * (ratio * spoken).mean()


def _judged(wave: Tensor) -> tuple[Tensor, Tensor]:
    """Spectrogram compressed to the power 0.3, and its moduli.

    What lies 43 dB under the mean level is as good as silence. Without that floor the root would
    reward a network for turning the faintest rest into nothing, at the price of faint consonants.
    """
    spec = _JUDGE.forward(wave)
    level = spec.real.square() + spec.imag.square() + _FLOOR**2
    return spec * level**-0.35, level**0.15


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


def predictive() -> PredictiveRecipe:
    """Five levels, 2.0 M weights, about 0.45 GMAC a second of sound."""
    return PredictiveRecipe(
        "storm-small-predictive",
        "StoRM, small predictive network",
        widths=(16, 32, 64, 96, 128),
        blocks=(1, 1, 2, 2, 2),
    )
