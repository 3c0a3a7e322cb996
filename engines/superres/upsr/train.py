"""Recipe `upsr-small`: UPSR's diffusion at a small size, on photographs as they are found.

The regressor g is the frozen network of `fast-x4-photo`. The network starts from g's picture and
learns what is missing: the loss is the squared error of the picture, and, in place of a perceptual
one, which wants a network trained on ImageNet, the absolute errors of its gradients and of the
magnitudes of its spectrum at three sizes. Training pairs are those of `fast-x4-photo`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, l1_loss, mse_loss

from engines.base import UserError
from engines.superres.degrade.practical import half
from engines.superres.fast import FastNet
from engines.superres.judged import judged
from engines.superres.metrics.fidelity import rounded
from engines.superres.noise_field import noise_field
from engines.superres.photos import DATA, HELD_OUT, Crops
from engines.superres.precision import mixed
from engines.superres.upsr.sampler import SCHEDULE, Given, denoised, sample
from engines.superres.upsr.unet import SCALE, UpsrUnet
from engines.training.loop import Batch, Recipe, TrainConfig
from engines.weights import BUNDLED, ModelFile, read_model, read_tensors

_LOW = 32  # side of a training crop at the input's resolution
_REGRESSORS = ("fast-x4-photo", "fast-x4")
_GRADIENT, _SPECTRUM = 0.1, 0.05  # shares of the loss
_SIZES = 3  # of the spectrum: whole, a half, a quarter


def regressor(runs: Path, names: tuple[str, ...] = _REGRESSORS) -> tuple[FastNet, ModelFile]:
    """The first of the fast networks that ships or lies in the folder of training runs.

    Raises:
        UserError: there is none.
    """
    for name in names:
        for path in (
            BUNDLED / f"{name}.safetensors",
            runs / name / f"{name}.safetensors",
        ):
            if path.is_file():
                file = read_model(path, name, "bundled")
                network = FastNet(**file.config)
                tensors = read_tensors(path)
                network.load_state_dict({key: value.float() for key, value in tensors.items()})
                return network.eval().requires_grad_(False), file
    raise UserError(f"The regressor comes first: run `train {names[0]}`, then this recipe")


def worn(high: Tensor, random: np.random.Generator) -> Tensor:
    """Small pictures as they are found: (B, 3, 4h, 4w) -> (B, 3, h, w), both in 0..1."""
    pictures = high.permute(0, 2, 3, 1).contiguous().numpy()
    found = np.stack([half(SCALE).wear(picture, random) for picture in pictures])
    return torch.from_numpy(found).permute(0, 3, 1, 2).contiguous()


def sharpness_loss(found: Tensor, truth: Tensor) -> Tensor:
    """Squared error, with the absolute errors of gradients and of magnitudes of the spectrum.

    Both arguments are (B, 3, H, W) in -1..1; the sides are multiples of 4.
    """
    loss = mse_loss(found, truth)
    for axis in (2, 3):
        loss = loss + _GRADIENT * l1_loss(found.diff(dim=axis), truth.diff(dim=axis))
    for size in range(_SIZES):
        if size:
            found, truth = avg_pool2d(found, 2), avg_pool2d(truth, 2)
        magnitudes = [torch.fft.rfft2(one, norm="ortho").abs() for one in (found, truth)]
        loss = loss + _SPECTRUM * l1_loss(*magnitudes)
    return loss


class UpsrRecipe(Recipe):
    """Data, loss and validation of one size of the U-Net (see the module's text)."""

    def __init__(
        self, name: str, title: str, settings: dict[str, Any], batch: int = 8, held: int = 8
    ) -> None:
        """`held` crops of photos kept out of training are validated on."""
        self.name = name
        self.title = title
        self.settings = settings
        self.batch, self.held = batch, held
        self.config = TrainConfig(rate=4e-4, muon=0.004, final_rate=0.02, average=0.998, half=True)
        self._crops: Crops | None = None
        self._regressor: tuple[FastNet, ModelFile] | None = None

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        network = UpsrUnet(**self.settings)
        network.initialise(torch.Generator().manual_seed(self.config.seed))
        return network

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and the regressor."""
        self._regressor = regressor(cache.parent)
        self._crops = Crops(cache, data, _LOW * SCALE)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless pairs, the regressor's pictures among them, times and noise."""
        crops, g, _ = self._ready()
        random = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        while True:
            high = crops.draw(random, self.batch)
            low = worn(high, random)
            with torch.no_grad():
                estimate = g(low)
            yield {
                "low": low,
                "high": high,
                "estimate": estimate,
                "step": torch.randint(SCHEDULE.steps, (self.batch,), generator=generator),
                "noise": torch.randn(high.shape, generator=generator),
            }

    def hidden(self, network: nn.Module) -> set[str]:
        """Without the first and last layers, and those of the time."""
        aside = ("input_blocks.0.", "conv_last.", "time_embed.")
        return {name for name in super().hidden(network) if not name.startswith(aside)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See `sharpness_loss`."""
        given = Given.of(batch["low"], batch["estimate"])
        clean = 2.0 * batch["high"] - 1.0
        x = SCHEDULE.forward(clean, given.cubic, given.weight, batch["noise"], batch["step"])
        with mixed(x.device):
            found = denoised(network, x, given, SCHEDULE, batch["step"])
        return sharpness_loss(found.float(), clean)

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """PSNR-Y in dB and slope of the spectrum of the sampled pictures and of g's, on photos kept
        out of training; the picture shows cubic, g, ours and the original.
        """
        crops, g, _ = self._ready()
        device = next(network.parameters()).device
        high = crops.held(self.held, 64 * SCALE)
        low = worn(high, np.random.default_rng(9)).to(device)
        given = Given.of(low, g.to(device)(low))
        height, width = high.shape[-2:]
        noise = torch.stack(
            [noise_field(seed, 0, 3, 0, 0, height, width) for seed in range(len(high))]
        )
        with mixed(device):
            found = sample(network, given, noise.to(device)).float()
        g.to("cpu")
        shown = {
            "cubic": (given.cubic + 1.0) / 2.0,
            "g": (given.estimate + 1.0) / 2.0,
            "ours": found,
        }
        pictures = {name: rounded(one.cpu()) for name, one in shown.items()}
        return judged(pictures, high, SCALE, figure)

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        _, _, file = self._ready()
        return {
            "network": "superres.upsr/unet",
            "config": self.settings,
            "regressor": file.id,
            "title": self.title,
            "note": "Small network (5 M weights), trained on a CPU by the recipe of this "
            "project; works offline. The authors' network has 120 M weights and can be added",
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": DATA,
            "held_out": list(HELD_OUT),
        }

    def _ready(self) -> tuple[Crops, FastNet, ModelFile]:
        assert self._crops is not None, "prepare() comes first"
        assert self._regressor is not None
        return self._crops, *self._regressor


def small() -> UpsrRecipe:
    """64 channels over three levels."""
    return UpsrRecipe(
        "upsr-small",
        "UPSR, small",
        {
            "image_size": _LOW,
            "model_channels": 64,
            "channel_mult": [1, 2, 2],
            "num_res_blocks": 1,
            "swin_embed_dim": 64,
            "num_head_channels": 32,
            "num_feat": 32,
            "anchored": True,
        },
    )
