"""The published models as modules: what they predict, given spectrograms without a channel axis.

All spectrograms are complex64 [B, F, T], compressed as the model's `settings.signal` says; F and
T are multiples of the network's `stride`, times float32 [B].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.speech.ncsnpp import NCSNpp
from engines.speech.sde import OUVE, SBVE, spread
from engines.speech.settings import Process, SgmseSettings, Size, StormSettings


def sde_of(process: Process) -> OUVE | SBVE:
    """The diffusion that a file was trained with."""
    if process.kind == "sbve":
        return SBVE(process.k, process.c)
    return OUVE(process.theta, process.sigma_min, process.sigma_max)


def network_of(size: Size) -> NCSNpp:
    """A network of that size with random weights."""
    return NCSNpp(**size.model_dump())


class Sgmse(NCSNpp):
    """SGMSE+ and the models of its code base, those of the Schroedinger bridge included.

    As an `NCSNpp` it gives the raw output; `score` and `clean` say what that means.
    """

    def __init__(self, settings: SgmseSettings) -> None:
        super().__init__(**settings.network.model_dump())
        self.settings = settings
        self.sde = sde_of(settings.process)

    @property
    def bridges(self) -> bool:
        """Whether it is sampled by `samplers.bridge` on `clean`, not by those on `score`."""
        return isinstance(self.sde, SBVE)

    def score(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """Score at x_t given the noisy y: s(t) score = -z. [B, F, T]."""
        if not self.predicts_clean:
            return self._scaled(x, y, t)
        mean = self.sde.mean(self._scaled(x, y, t), y, t)
        return (mean - x) / spread(self.sde.std(t) ** 2, x)

    def clean(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        """Estimate of the clean speech at x_t given the noisy y. [B, F, T].

        Raises:
            ValueError: the model predicts a score.
        """
        if not self.predicts_clean:
            raise ValueError("this model predicts a score, not clean speech")
        return self._scaled(x, y, t)

    @property
    def predicts_clean(self) -> bool:
        """Whether its output is the clean speech rather than a score."""
        return self.backbone == "ncsnpp_v2" and self.settings.objective.loss == "data_prediction"

    def _scaled(self, x: Tensor, y: Tensor, t: Tensor) -> Tensor:
        if self.backbone != "ncsnpp_v2":
            return -self(torch.stack((x, y), dim=1), t)[:, 0]
        objective = self.settings.objective
        std = spread(self.sde.std(t), x)
        total = torch.sqrt(std**2 + objective.sigma_data**2)
        inputs = torch.stack((x, y), dim=1)
        if objective.c_in == "edm":
            inputs = inputs / total[:, None]
        out = self(inputs, t)[:, 0]
        if objective.scaling == "1/sigma":
            out = out / std
        elif objective.scaling == "1/t":
            out = out / t[:, None, None]
        if objective.loss == "denoiser":
            return (out - x) / std**2
        if objective.c_out == "sigma":
            out = out * std
        elif objective.c_out == "1/sigma":
            out = out / std
        elif objective.c_out == "edm":
            out = out * (std * objective.sigma_data / total)
        if objective.c_skip == "edm":
            out = out + x * (objective.sigma_data / total) ** 2
        return out


class Storm(nn.Module):
    """StoRM: a predictive network, and a score network that restores what it distorted.

    Either may be missing; `denoiser_net` and `score_net` are then None.
    """

    def __init__(self, settings: StormSettings) -> None:
        super().__init__()
        self.settings = settings
        self.sde = sde_of(settings.process)
        self.denoiser_net = None if settings.denoiser is None else network_of(settings.denoiser)
        self.score_net = None if settings.score is None else network_of(settings.score)

    @property
    def can(self) -> str:
        """What the file can do, in words."""
        if self.score_net is None:
            return "predicts only: it has no score network"
        if self.denoiser_net is None:
            return "samples from the noisy input only: it has no predictive network"
        return "predicts, and samples around its estimate"

    @property
    def stride(self) -> int:
        """What F and T must be multiples of."""
        return max(net.stride for net in (self.denoiser_net, self.score_net) if net is not None)

    def predict(self, y: Tensor) -> Tensor:
        """Predictive estimate D(y) of the noisy y. [B, F, T].

        Raises:
            ValueError: the file has no predictive network.
        """
        if self.denoiser_net is None:
            raise ValueError(f"this StoRM model {self.can}")
        return self.denoiser_net(y[:, None])[:, 0]

    def score(self, x: Tensor, y: Tensor, d: Tensor, t: Tensor) -> Tensor:
        """Score at x_t of the diffusion around d = D(y), given the noisy y. [B, F, T].

        Without a predictive network the diffusion runs around y: give y as d.

        Raises:
            ValueError: the file has no score network.
        """
        if self.score_net is None:
            raise ValueError(f"this StoRM model {self.can}")
        seen = {"both": (x, y, d), "noisy": (x, y), "post_denoiser": (x, d)}
        inputs = torch.stack(seen[self.settings.condition], dim=1)
        return -self.score_net(inputs, t)[:, 0]
