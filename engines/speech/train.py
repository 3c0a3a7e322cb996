"""Recipe `storm-small-predictive`: StoRM's predictive part, trained on speech mixed with noise.

The loss is taken on the sound itself, so it sees what overlapping frames make of a mask: moduli
raised to 0.3, with and without phase, and the ratio of signal to error in dB, limited at 30 dB so
that examples that are already clean do not count for more than the others.

On one CPU core a batch of 8 x 2 s takes 0.43 s; expected after 46 minutes (6 400 steps): 7.3 dB
better in SI-SDR at 0 dB on held-out voices and noises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
        batch: int = 8,
        seconds: float = 2.0,
        note: str = "",
        held: int = 16,
    ) -> None:
        settings = {"widths": list(widths), "blocks": list(blocks), "refiner": False}
        super().__init__(
            name, title, note=note, network_id=STORM.id, settings=settings, batch=batch,
            samples=round(seconds * RATE), held=held,
        )  # fmt: skip
        self.config = TrainConfig(
            rate=2.5e-3, average=0.999, weight_decay=1e-4, clip=1.0, half=True
        )

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


def predictive() -> PredictiveRecipe:
    """Five levels, 2.1 M weights, about 0.4 GMAC a second of sound."""
    return PredictiveRecipe(
        "storm-small-predictive",
        "StoRM, small predictive network",
        widths=(16, 32, 64, 96, 128),
        blocks=(1, 1, 2, 2, 2),
    )
