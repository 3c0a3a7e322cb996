"""Recipe `storm-small-predictive`: StoRM's predictive part, trained on speech mixed with noise.

The loss is taken on the sound itself, so it sees what overlapping frames make of a mask: moduli
raised to 0.3, with and without phase; the ratio of signal to error in dB, limited at 30 dB so that
examples that are already clean do not count for more than the others; and what an ear would say
(`engines.speech.hearing`).

On one CPU core a batch of 4 x 4 s takes 0.57 s. What ships went through 13 931 steps of 8 x 2 s
without the ear and then 10 301 with it in 102 minutes: 3 251 of 8 x 2 s with smaller weights on
it, most of them without the preference for studio voices, 2 618 of 4 x 4 s, and 4 432 as they stand
here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.speech.hearing import disturbance, intelligible
from engines.speech.recipe import SpeechRecipe
from engines.speech.small import EXPONENT, FACTOR, STFT, SmallStorm
from engines.speech.small_checkpoint import STORM
from engines.training.loop import Batch, TrainConfig, bundled_weights
from engines.training.sounds import RATE
from kernels.stft import Stft, compress, expand

_JUDGE = Stft(512, 192, "hann")
_FLOOR = 0.03  # in the units of `_JUDGE`, where the mean level is about 4


class PredictiveRecipe(SpeechRecipe):
    """Network and loss of the predictive network (see the module's text)."""

    def __init__(
        self,
        name: str,
        title: str,
        widths: Sequence[int],
        blocks: Sequence[int],
        batch: int = 4,
        seconds: float = 4.0,
        note: str = "",
        held: int = 16,
    ) -> None:
        settings = {"widths": list(widths), "blocks": list(blocks), "refiner": False}
        super().__init__(
            name, title, note=note, network_id=STORM.id, settings=settings, batch=batch,
            samples=round(seconds * RATE), held=held,
        )  # fmt: skip
        self.config = TrainConfig(rate=8e-4, muon=5e-3, average=0.999, clip=1.0, half=True)

    def shipped(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """The predictor ships inside `storm-small`, whose card says how it was trained."""
        found = bundled_weights("storm-small", "denoiser.")
        return None if found is None else (found[0], found[1]["began_with"])

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        torch.manual_seed(self.config.seed)
        network = SmallStorm(**self.settings)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See the module's text."""
        noisy, clean = batch["noisy"], batch["clean"]
        y = compress(STFT.forward(noisy), EXPONENT, FACTOR)
        # Convolutions in bfloat16 take half the time; complex arithmetic stays in float32.
        with torch.autocast(noisy.device.type, torch.bfloat16):
            made = network.denoiser(y, batch["dry"])  # type: ignore[operator]
        return speech_loss(sound(made, clean.shape[-1]), clean, noisy)

    def restored(
        self, network: nn.Module, noisy: NDArray[np.float32], device: torch.device
    ) -> NDArray[np.float32]:
        """The prediction; see `SpeechRecipe.restored`."""
        y = compress(STFT.forward(torch.from_numpy(noisy)[None].to(device)), EXPONENT, FACTOR)
        made = network.denoiser(y, torch.zeros(1, device=device))  # type: ignore[operator]
        return sound(made, noisy.shape[0])[0].cpu().numpy()


def sound(spec: Tensor, samples: int) -> Tensor:
    """Compressed spectrogram (B, 257, T) -> sound (B, samples)."""
    return STFT.inverse(expand(spec, EXPONENT, FACTOR), samples)


def speech_loss(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Loss of sounds (B, N) against `clean`, at the level of `noisy`."""
    scale = 0.3 / (noisy.square().mean(dim=-1, keepdim=True).sqrt() + 1e-4)
    estimate, clean = estimate * scale, clean * scale
    made, wanted = _JUDGE.forward(estimate), _JUDGE.forward(clean)
    power_made, power = _power(made), _power(wanted)
    treble = _treble(made.device)
    of_made, of_wanted = (part * treble**2 + _FLOOR**2 for part in (power_made, power))
    moduli = (of_made**0.15 - of_wanted**0.15).square().mean()
    apart = treble * (made * of_made**-0.35 - wanted * of_wanted**-0.35)
    phases = torch.view_as_real(apart).square().sum(dim=-1).mean()
    energy = clean.square().sum(dim=-1)
    error = (estimate - clean).square().sum(dim=-1)
    spoken = energy > 1e-3 * clean.shape[-1]
    heard = (
        0.2 * torch.log10((error + 1e-3 * energy + 1e-4) / (energy + 1e-4))
        + 1.1 * (1.0 - intelligible(power_made, power))
        + 0.25 * disturbance(power_made, power)
    )
    return 0.7 * moduli + 0.3 * phases + (heard * spoken).mean()


def _power(spec: Tensor) -> Tensor:
    return spec.real.square() + spec.imag.square()


def _treble(device: torch.device) -> Tensor:
    """(257, 1): gains of 6 dB an octave over 500 Hz, as a voice falls, up to 18 dB.

    What lies 43 dB under the mean level after them is as good as silence (`_FLOOR`): without a
    floor the root would reward a network for turning the faintest rest into nothing, and without
    the gains consonants would lie under it.
    """
    hertz = torch.arange(257, device=device) * (RATE / 512.0)
    return (1.0 + (hertz / 500.0) ** 2).sqrt().clamp(max=8.0)[:, None]


def predictive() -> PredictiveRecipe:
    """Five levels, 2.1 M weights, about 0.4 GMAC a second of sound."""
    return PredictiveRecipe(
        "storm-small-predictive",
        "StoRM, small predictive network",
        widths=(16, 32, 64, 96, 128),
        blocks=(1, 1, 2, 2, 2),
    )
