"""Recipes `sgmse-ncsnpp` and `sgmse-plus`: NCSN++ itself, for machines with a GPU.

`sgmse-plus` is SGMSE+ as published (Richter et al., TASLP 2023): 65.6 M weights, OUVE, denoising
score matching, 0.5 sum |s score + z|². `sgmse-ncsnpp` is a network of 1.5 M weights that predicts
the clean spectrogram along a Schroedinger bridge (Jukic et al. 2024): half the squared error of the
bins plus 0.001 times half the absolute error of the sound. Both see crops of 256 frames, divided
by their peak, at a rate of 1e-4 that stays.

No weights of them ship: a step of `sgmse-ncsnpp` takes a CPU core some 10 s.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from engines.speech.checkpoint import SGMSE
from engines.speech.official import Sgmse
from engines.speech.recipe import SpeechRecipe, seeded_noise
from engines.speech.samplers import bridge, predictor_corrector
from engines.speech.sde import SBVE, spread
from engines.speech.settings import Objective, Process, SgmseSettings, Size
from engines.training.loop import Batch, TrainConfig
from kernels.stft import Stft, compress, expand

_FRAMES = 256


class NcsnppRecipe(SpeechRecipe):
    """Network and loss of one setting of SGMSE+'s code base; rooms stay."""

    def __init__(
        self, name: str, title: str, settings: SgmseSettings, *, batch: int, held: int, note: str
    ) -> None:
        signal = settings.signal
        super().__init__(
            name, title, note=note, network_id=SGMSE.id, settings=settings.model_dump(mode="json"),
            batch=batch, samples=(_FRAMES - 1) * signal.hop, held=held, dry=0.0,
        )  # fmt: skip
        self.config = TrainConfig(rate=1e-4, final_rate=1.0, average=0.999)
        self._checked = settings
        self._stft = Stft(signal.n_fft, signal.hop, signal.window)

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        network = Sgmse(self._checked)
        network.initialise(torch.Generator().manual_seed(self.config.seed))
        return network

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See the module's text."""
        model = cast("Sgmse", network)
        peak = batch["noisy"].abs().amax(dim=1, keepdim=True).clamp(min=1e-3)
        clean = batch["clean"] / peak
        x0, y = self._spectrum(clean), self._spectrum(batch["noisy"] / peak)
        earliest = self._checked.sampling.t_eps
        t = earliest + (1.0 - earliest) * torch.rand(len(y), device=y.device)
        z = torch.randn_like(y)
        x_t = model.sde.perturb(x0, y, t, z)
        if not model.predicts_clean:
            error = spread(model.sde.std(t), z) * model.score(x_t, y, t) + z
            return 0.5 * _power(error).sum(dim=(1, 2)).mean()
        made = model.clean(x_t, y, t)
        rest = self._sound(made, clean.shape[1]) - clean
        return 0.5 * _power(made - x0).mean() + 0.0005 * rest.abs().mean()

    def restored(
        self, network: nn.Module, noisy: NDArray[np.float32], device: torch.device
    ) -> NDArray[np.float32]:
        """A few steps of the sampler; see `SpeechRecipe.restored`."""
        model = cast("Sgmse", network)
        peak = max(float(np.abs(noisy).max()), 1e-3)
        y = self._spectrum(torch.from_numpy(noisy / peak)[None].to(device))
        y = functional.pad(y, (0, -y.shape[-1] % model.stride))
        sde = model.sde
        if isinstance(sde, SBVE):
            made = bridge(model.clean, y, sde, steps=5)
        else:
            made = predictor_corrector(
                model.score, y, sde, steps=10, corrector="none", start=0.5,
                predictor="ancestral",
                noise=seeded_noise(device),
            )  # fmt: skip
        return self._sound(made, len(noisy))[0].cpu().numpy() * np.float32(peak)

    def _spectrum(self, wave: Tensor) -> Tensor:
        signal = self._checked.signal
        return compress(self._stft.forward(wave), signal.exponent, signal.factor)

    def _sound(self, spec: Tensor, samples: int) -> Tensor:
        signal = self._checked.signal
        return self._stft.inverse(expand(spec, signal.exponent, signal.factor), samples)


def _power(spec: Tensor) -> Tensor:
    return spec.real.square() + spec.imag.square()


def bridged() -> NcsnppRecipe:
    """32 channels over four levels, 29 GMAC a second of sound for the five steps."""
    settings = SgmseSettings(
        network=Size(
            nf=32, ch_mult=(1, 1, 2, 2), num_res_blocks=1, attention=(), backbone="ncsnpp_v2"
        ),
        process=Process(kind="sbve"),
        objective=Objective(loss="data_prediction"),
    )
    return NcsnppRecipe(
        "sgmse-ncsnpp", "SGMSE+, NCSN++ with 32 channels (bridge)", settings, batch=8, held=4,
        note="NCSN++ of 32 channels, trained by the recipe of this project; made for a GPU",
    )  # fmt: skip


def plus() -> NcsnppRecipe:
    """SGMSE+ in the published size and setting."""
    return NcsnppRecipe(
        "sgmse-plus", "SGMSE+ (published size)", SgmseSettings(), batch=8, held=4,
        note="SGMSE+ in its published size, trained by the recipe of this project",
    )  # fmt: skip
