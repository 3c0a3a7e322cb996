"""Recipe `storm-small`: the refiner along a Schroedinger bridge, around the predictive network.

StoRM's setting with a frozen, already trained predictor (its "denoiser frozen" mode): the bridge
leads from D(y) to the clean spectrogram, and the refiner also sees y. It begins as the predictor,
so that training starts at the predictor's quality, and predicts the data (Jukic et al. 2024).
What ships is both parts in one file. `storm-small-predictive` comes first.

On one CPU core a batch of 8 x 2.5 s takes 0.7 s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.base import UserError
from engines.speech.samplers import T_EPS, bridge
from engines.speech.small import BRIDGE, SmallStorm
from engines.speech.train import (
    EXPONENT,
    FACTOR,
    STFT,
    PredictiveRecipe,
    predictive,
    sound,
    speech_loss,
)
from engines.training.loop import Batch
from engines.weights import BUNDLED, read_tensors
from kernels.stft import compress

_STEPS = 5


class BridgeRecipe(PredictiveRecipe):
    """Data and validation are the predictive recipe's; the network and the loss are not."""

    def __init__(self, name: str, title: str, base: PredictiveRecipe, note: str) -> None:
        super().__init__(
            name, title, base.settings["widths"], base.settings["blocks"], base.batch, note=note,
            held=base.held,
        )  # fmt: skip
        self.samples = base.samples
        self.settings["refiner"] = True
        self._base = base.name
        self._predictor: dict[str, Tensor] = {}

    def prepare(self, cache: Path, data: Path | None) -> None:
        """As the predictive recipe; also finds that recipe's weights.

        Raises:
            UserError: it was never run here, and no weights ship either.
        """
        super().prepare(cache, data)
        choices = (
            cache.parent / self._base / f"{self._base}.safetensors",
            BUNDLED / f"{self.name}.safetensors",
        )
        found = next((path for path in choices if path.is_file()), None)
        if found is None:
            raise UserError(f"Train {self._base} first; {self.name} refines what it predicts")
        self._predictor = {
            key: value for key, value in read_tensors(found).items() if key.startswith("denoiser.")
        }

    def network(self) -> nn.Module:
        """The trained predictor, frozen, and a refiner that begins as its copy."""
        torch.manual_seed(self.config.seed)
        network = SmallStorm(**self.settings)
        network.load_state_dict(self._predictor, strict=False)
        network.denoiser.requires_grad_(False)
        assert network.refiner is not None
        network.refiner.begin_as(network.denoiser)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """2.5 times the squared error of the compressed spectrogram, and the predictor's loss."""
        assert isinstance(network, SmallStorm)
        assert network.refiner is not None
        noisy, clean = batch["noisy"], batch["clean"]
        y, x0 = (compress(STFT.forward(wave), EXPONENT, FACTOR) for wave in (noisy, clean))
        t = T_EPS + (1.0 - T_EPS) * torch.rand(len(y), device=y.device)
        with torch.autocast(noisy.device.type, torch.bfloat16):
            with torch.no_grad():
                d = network.denoiser(y, batch["dry"])
            x_t = BRIDGE.perturb(x0, d, t, torch.randn_like(d))
            made = network.refiner(x_t, y, d, t)
        error = torch.view_as_real(made - x0).square().sum(dim=-1).mean()
        return 2.5 * error + speech_loss(sound(made, clean.shape[-1]), clean, noisy)

    def _restored(
        self, network: nn.Module, noisy: NDArray[np.float32], device: torch.device
    ) -> NDArray[np.float32]:
        assert isinstance(network, SmallStorm)
        refiner = network.refiner
        assert refiner is not None
        y = compress(STFT.forward(torch.from_numpy(noisy)[None].to(device)), EXPONENT, FACTOR)
        d = network.denoiser(y, torch.zeros(1, device=device))
        made = bridge(lambda x, origin, t: refiner(x, y, origin, t), d, BRIDGE, steps=_STEPS)
        return sound(made, noisy.shape[0])[0].cpu().numpy()

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return super().card() | {"predictor": self._base, "validated_steps": _STEPS}


def small() -> BridgeRecipe:
    """Predictor and refiner as they ship, 2.0 M weights each."""
    return BridgeRecipe(
        "storm-small",
        "StoRM, small (predictor and bridge refiner)",
        predictive(),
        note="Small networks (2 x 2.0 M weights) for 16 kHz, trained on a CPU by the recipes of "
        "this project; work offline. The authors' StoRM has 2 x 28 M weights, is some 200 times "
        "slower and can be added from their file",
    )
