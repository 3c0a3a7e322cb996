"""Recipe `reddiff-prior`: a small unconditional diffusion of photographs.

An ADM U-Net of 32 channels in three levels, attention at the last, learns the noise (DDPM, Ho et
al. 2020: ε alone, 1000 linear steps, mean squared error, times drawn evenly) in crops of 64 pixels.
On one core of a CPU with bfloat16 a batch of 16 takes about 2 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from engines.superres.metrics.fidelity import psnr_y
from engines.superres.photos import DATA, HELD_OUT, Crops
from engines.superres.precision import mixed
from engines.superres.reddiff.checkpoint import ID
from engines.superres.reddiff.schedule import Schedule
from engines.superres.reddiff.settings import PriorSettings
from engines.superres.reddiff.unet import AdmUnet
from engines.training.loop import Batch, Recipe, TrainConfig

SETTINGS = PriorSettings(
    channels=32, mult=(1, 2, 2), blocks=1, attention=(False, False, True), out=3, updown=False,
    head_channels=32, groups=8, size=64,
)  # fmt: skip
_TIMES = (100, 300, 600)  # that a validation looks at


class PriorRecipe(Recipe):
    """Data, loss and validation of one size of prior (see the module's text)."""

    def __init__(
        self, name: str, title: str, settings: PriorSettings, batch: int = 16, held: int = 12
    ) -> None:
        """`held` crops of photos kept out of training are validated on."""
        self.name = name
        self.title = title
        self.settings = settings
        self.batch, self.held = batch, held
        self.config = TrainConfig(rate=1e-3, muon=0.004, final_rate=0.02, average=0.998, half=True)
        self._schedule = Schedule(settings.schedule)
        alphas = [self._schedule.alpha(t) for t in range(self._schedule.steps)]
        self._alphas = torch.tensor(alphas, dtype=torch.float64)
        self._crops: Crops | None = None

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        torch.manual_seed(self.config.seed)
        network = AdmUnet(self.settings)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and find where they are sharp."""
        self._crops = Crops(cache, data, self.settings.size)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless crops in -1..1 with times and noise."""
        random = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        while True:
            clean = 2.0 * self._ready().draw(random, self.batch) - 1.0
            yield {
                "clean": clean,
                "time": torch.randint(self._schedule.steps, (self.batch,), generator=generator),
                "noise": torch.randn(clean.shape, generator=generator),
            }

    def hidden(self, network: nn.Module) -> set[str]:
        """Without the first and last layers and what tells the time."""
        aside = ("input_blocks.0.", "out.", "time_embed.")
        return {
            name
            for name in super().hidden(network)
            if not name.startswith(aside) and ".emb_layers." not in name
        }

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Mean squared error of the noise."""
        x = self._noisy(batch["clean"], batch["noise"], batch["time"])
        with mixed(x.device):
            found = network(x, batch["time"])
        return mse_loss(found.float(), batch["noise"])

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """Error of the noise at three times, and PSNR-Y in dB of the pictures that it leaves, on
        photos kept out of training; the figure shows noisy, ours and the original of the first.
        """
        device = next(network.parameters()).device
        high = self._ready().held(self.held, self.settings.size)
        clean = 2.0 * high - 1.0
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(5))
        figures: dict[str, float] = {}
        rows: list[Tensor] = []
        for t in _TIMES:
            times = torch.full((len(clean),), t)
            x = self._noisy(clean, noise, times)
            with mixed(device):
                found = network(x.to(device), times.to(device))[:, :3].float().cpu()
            figures[f"noise_error_{t}"] = float(mse_loss(found, noise))
            alpha = self._schedule.alpha(t)
            left = ((x - (1.0 - alpha) ** 0.5 * found) / alpha**0.5 + 1.0) / 2.0
            left = left.clamp(0.0, 1.0)
            each = [psnr_y(o[None], h[None], 0) for o, h in zip(left, high, strict=True)]
            figures[f"psnr_y_{t}_db"] = float(np.mean(each))
            rows.append(torch.cat([((x + 1.0) / 2.0).clamp(0.0, 1.0)[0], left[0], high[0]], dim=2))
        picture = (torch.cat(rows, dim=1) * 255.0).byte().permute(1, 2, 0).numpy()
        cv2.imwrite(str(figure), picture[:, :, ::-1])
        return figures

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": ID,
            "config": self.settings.model_dump(mode="json"),
            "title": self.title,
            "note": "Small prior (1.2 M weights), trained on a CPU by the recipe of this project; "
            "works offline. Guided diffusion's of 553 M weights can be added",
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": DATA,
            "held_out": list(HELD_OUT),
        }

    def _noisy(self, clean: Tensor, noise: Tensor, time: Tensor) -> Tensor:
        alpha = self._alphas.to(time.device)[time].float()[:, None, None, None]
        x = alpha.sqrt() * clean + (1.0 - alpha).sqrt() * noise
        return x.contiguous(memory_format=torch.channels_last)

    def _ready(self) -> Crops:
        assert self._crops is not None, "prepare() comes first"
        return self._crops


def prior() -> PriorRecipe:
    """32 channels over three levels, for tiles of 64 pixels."""
    return PriorRecipe("reddiff-prior", "RED-Diff prior, small", SETTINGS)
