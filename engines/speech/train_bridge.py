"""Recipe `storm-small`: the refiner along a Schroedinger bridge, around the predictive network.

StoRM's setting with a frozen, already trained predictor (its "denoiser frozen" mode): the bridge
leads from D(y) to the clean spectrogram, and the refiner also sees y. It begins as the predictor,
so that training starts at the predictor's quality, and predicts the data (Jukic et al. 2024).
What ships is both parts in one file. `storm-small-predictive` comes first.

Recipe `sgmse-small`: the same network without a predictor before it, SGMSE+'s Schroedinger bridge
from the noisy spectrogram itself; it begins as the refiner of `storm-small`.

On one CPU core a batch of 4 x 4 s takes 0.75 s. The rates are a part of the predictor's, as both
begin with trained weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.base import UserError
from engines.speech.recipe import seeded_noise
from engines.speech.samplers import T_EPS, bridge
from engines.speech.small import BRIDGE, EXPONENT, FACTOR, STFT, BridgeNet, SmallStorm
from engines.speech.small_checkpoint import SGMSE
from engines.speech.train import PredictiveRecipe, predictive, sound, speech_loss
from engines.training.loop import Batch, bundled_weights
from engines.weights import BUNDLED, read_model, read_tensors
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
        self.config = replace(self.config, muon=2e-3)
        self.settings["refiner"] = True
        self._base = base.name
        self._known: dict[str, Tensor] = {}
        self._begun: dict[str, Any] = {}

    def prepare(self, cache: Path, data: Path | None) -> None:
        """As the predictive recipe; also finds the weights to begin with.

        Raises:
            UserError: the recipe that makes them was never run here, and they do not ship either.
        """
        super().prepare(cache, data)
        choices = (
            cache.parent / self._base / f"{self._base}.safetensors",
            BUNDLED / f"{self._base}.safetensors",
            BUNDLED / f"{self.name}.safetensors",
        )
        found = next((path for path in choices if path.is_file()), None)
        if found is None:
            raise UserError(f"Train {self._base} first; {self.name} begins with its weights")
        self._known = read_tensors(found)
        card = read_model(found, self._base, "yours").card
        self._begun = {name: card.get(name) for name in ("recipe", "steps", "runs", "seconds")}

    def shipped(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """Predictor and refiner, or the bridge, as they ship under the recipe's name."""
        return bundled_weights(self.name)

    def network(self) -> nn.Module:
        """The trained predictor, frozen, and a refiner that begins as its copy."""
        network = SmallStorm(**self.settings)
        predictor = _part(self._known, "denoiser.")
        network.denoiser.load_state_dict(predictor)
        network.denoiser.requires_grad_(False)
        assert network.refiner is not None
        network.refiner.begin_as(network.denoiser)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """2.5 times the squared error of the compressed spectrogram, and the predictor's loss."""
        noisy, clean = batch["noisy"], batch["clean"]
        y, x0 = (compress(STFT.forward(wave), EXPONENT, FACTOR) for wave in (noisy, clean))
        t = T_EPS + (1.0 - T_EPS) * torch.rand(len(y), device=y.device)
        with torch.autocast(noisy.device.type, torch.bfloat16):
            with torch.no_grad():
                d = self.begin(network, y, batch["dry"])
            x_t = BRIDGE.perturb(x0, d, t, torch.randn_like(d))
            made = self.refine(network, x_t, y, d, t)
        error = torch.view_as_real(made - x0).square().sum(dim=-1).mean()
        return 2.5 * error + speech_loss(sound(made, clean.shape[-1]), clean, noisy)

    def begin(self, network: nn.Module, y: Tensor, dry: Tensor) -> Tensor:
        """The bridge's noisy end: what the predictor makes of `y`."""
        return cast("SmallStorm", network).denoiser(y, dry)

    def refine(self, network: nn.Module, x: Tensor, y: Tensor, d: Tensor, t: Tensor) -> Tensor:
        """The network's estimate of the clean spectrogram."""
        refiner = cast("SmallStorm", network).refiner
        assert refiner is not None
        return refiner(x, y, d, t)

    def restored(
        self, network: nn.Module, noisy: NDArray[np.float32], device: torch.device
    ) -> NDArray[np.float32]:
        """Five steps along the bridge; see `SpeechRecipe.restored`."""
        y = compress(STFT.forward(torch.from_numpy(noisy)[None].to(device)), EXPONENT, FACTOR)
        d = self.begin(network, y, torch.zeros(1, device=device))
        made = bridge(
            lambda x, origin, t: self.refine(network, x, y, origin, t), d, BRIDGE,
            steps=_STEPS, kind="sde", noise=seeded_noise(device),
        )  # fmt: skip
        return sound(made, noisy.shape[0])[0].cpu().numpy()

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return super().card() | {"began_with": self._begun, "validated_steps": _STEPS}


class SgmseRecipe(BridgeRecipe):
    """The bridge from the noisy spectrogram itself; rooms stay, as no token asks for less."""

    def __init__(self, name: str, title: str, base: PredictiveRecipe, note: str) -> None:
        super().__init__(name, title, base, note)
        self.network_id = SGMSE.id
        self.config = replace(self.config, rate=5e-4)
        self.settings = {part: base.settings[part] for part in ("widths", "blocks")}
        self._dry = 0.0

    def network(self) -> nn.Module:
        """A refiner that begins as that of the base recipe."""
        network = BridgeNet(**self.settings)
        network.load_state_dict(_part(self._known, "refiner.") or self._known)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def begin(self, network: nn.Module, y: Tensor, dry: Tensor) -> Tensor:
        """The noisy spectrogram."""
        return y

    def refine(self, network: nn.Module, x: Tensor, y: Tensor, d: Tensor, t: Tensor) -> Tensor:
        """The network's estimate of the clean spectrogram."""
        return network(x, y, y, t)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def storm() -> BridgeRecipe:
    """Predictor and refiner as they ship, 2.1 M weights each."""
    return BridgeRecipe(
        "storm-small",
        "StoRM, small (predictor and bridge refiner)",
        predictive(),
        note="Small networks (2 x 2.1 M weights) for 16 kHz, trained on a CPU by the recipes of "
        "this project; work offline. The authors' StoRM has 2 x 28 M weights, takes some 300 times "
        "longer and can be added from their file",
    )


def sgmse() -> SgmseRecipe:
    """SGMSE+'s bridge as it ships, 2.1 M weights."""
    return SgmseRecipe(
        "sgmse-small",
        "SGMSE+, small (bridge)",
        storm(),
        note="Small network (2.1 M weights) for 16 kHz, trained on a CPU by the recipe of this "
        "project; works offline. The authors' SGMSE+ has 65 M weights, takes some 300 times longer "
        "and can be added from their file",
    )
