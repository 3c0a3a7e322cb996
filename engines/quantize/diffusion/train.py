"""Recipe `ddpm-small`: an unconditional diffusion model of 32 x 32 to try the methods on.

DDPM (Ho et al. 2020) on drawn letters and figures, so that nothing has to be fetched and a person
sees at once what quantization does to the pictures; with `--data` on squares of one's own photos.
1.8 M weights in diffusers' `UNet2DModel`: levels of 32, 64 and 96 channels, attention at 8 x 8.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.quantize.diffusion.export import WEIGHTS
from engines.quantize.diffusion.figures import write_sheet
from engines.quantize.diffusion.glyphs import SIDE, Pictures
from engines.quantize.diffusion.predictor import Conditions, Predictor
from engines.quantize.diffusion.sampler import Sampler, noise
from engines.quantize.folder import CONFIG, PIPELINE
from engines.quantize.scratch import save_tensors
from engines.training.loop import Batch, Recipe, TrainConfig

NAME = "ddpm-small"
BUNDLED_MODEL = Path(__file__).resolve().parents[3] / "assets" / "diffusion" / NAME
CARD = "studio.json"  # what the list of models reads
_BATCH, _LENGTH = 16, 1000
_HELD, _SHEET, _STEPS = 64, 16, 25  # pictures and steps of a validation
_NOTE = (
    "Small diffusion model (32 x 32 pictures of letters) trained by the recipe of this project, "
    "for trying the methods"
)


class DiffusionRecipe(Recipe):
    """Mean squared error of the predicted noise at a random time of each picture."""

    name = NAME
    title = "Diffusion model, small"
    config = TrainConfig(rate=6e-4, average=0.999, weight_decay=0.0)

    def __init__(self, channels: tuple[int, ...] = (32, 64, 96), batch: int = _BATCH) -> None:
        self.settings: dict[str, Any] = {
            "sample_size": SIDE, "in_channels": 3, "out_channels": 3, "layers_per_block": 1,
            "block_out_channels": channels, "norm_num_groups": 8, "attention_head_dim": 16,
            "down_block_types": ("DownBlock2D",) * (len(channels) - 1) + ("AttnDownBlock2D",),
            "up_block_types": ("AttnUpBlock2D",) + ("UpBlock2D",) * (len(channels) - 1),
        }  # fmt: skip
        self.batch = batch
        self.scheduler: dict[str, Any] = {
            "_class_name": "DDPMScheduler", "num_train_timesteps": _LENGTH, "beta_start": 1e-4,
            "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": True,
            "prediction_type": "epsilon", "variance_type": "fixed_small",
        }  # fmt: skip
        betas = torch.linspace(1e-4, 0.02, _LENGTH, dtype=torch.float64)
        self._kept = (1.0 - betas).cumprod(0).float()  # share of the picture's variance at t
        self._pictures: Pictures | None = None

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        from diffusers.models.unets.unet_2d import UNet2DModel

        torch.manual_seed(self.config.seed)
        made: Any = UNet2DModel
        return made(**self.settings)

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Nothing is fetched; photos of one's own are read where they are given."""
        self._pictures = Pictures(cache, data)
        self._held = self._noisy(np.random.default_rng(99), _HELD)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless noisy pictures, their times, and the noise in them."""
        random = np.random.default_rng(seed)
        while True:
            yield self._noisy(random, self.batch)

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Ho et al., eq. 14."""
        found: Any = network(batch["x"], batch["t"], return_dict=False)
        return nn.functional.mse_loss(found[0], batch["noise"])

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """Error of the noise of pictures that are not trained on; the picture is a sheet of some
        that were sampled in 25 steps.
        """
        device = next(network.parameters()).device
        held = {name: value.to(device) for name, value in self._held.items()}
        error = float(self.loss(network, held))
        begun = noise(_SHEET, (3, SIDE, SIDE), 0)
        made = Sampler(self.scheduler, _STEPS).walk(Predictor(network, Conditions()), begun, None)
        write_sheet(figure, made)
        return {"noise_error_held_out": error}

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": "quantize/diffusion",
            "config": {},
            "title": self.title,
            "note": _NOTE,
            "licence": "Apache-2.0",
            "source": f"trained here by `train {NAME}`",
            "data": "letters and figures drawn by the recipe",
        }

    def shipped(self) -> tuple[Mapping[str, Tensor], Mapping[str, Any]] | None:
        """The bundled model, where there is one."""
        from safetensors.torch import load_file

        card = BUNDLED_MODEL / CARD
        if not card.is_file():
            return None
        told = json.loads(card.read_text(encoding="utf-8"))
        return load_file(BUNDLED_MODEL / "unet" / WEIGHTS), told

    def export(self, run: Path, weights: Mapping[str, Tensor], card: Mapping[str, Any]) -> Path:
        """A folder as diffusers reads it, `ddpm-small/` in the run's folder."""
        folder = run / NAME
        for part in ("unet", "scheduler"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        path = folder / "unet" / WEIGHTS
        save_tensors(path, weights, {"format": "pt"})
        index = {
            "_class_name": "DDPMPipeline", "scheduler": ["diffusers", "DDPMScheduler"],
            "unet": ["diffusers", "UNet2DModel"],
        }  # fmt: skip
        network = {"_class_name": "UNet2DModel", **self.settings}
        for name, told in (
            (f"unet/{CONFIG}", network),
            ("scheduler/scheduler_config.json", self.scheduler),
            (PIPELINE, index),
            (CARD, dict(card)),
        ):
            text = json.dumps(told, indent=1) + "\n"
            (folder / name).write_text(text, encoding="utf-8")
        return path

    def _noisy(self, random: np.random.Generator, count: int) -> Batch:
        assert self._pictures is not None
        pictures = self._pictures.draw(random, count)
        generator = torch.Generator().manual_seed(int(random.integers(2**31)))
        t = torch.randint(_LENGTH, (count,), generator=generator)
        drawn = torch.randn(pictures.shape, generator=generator)
        kept = self._kept[t][:, None, None, None]
        return {"x": kept.sqrt() * pictures + (1 - kept).sqrt() * drawn, "t": t, "noise": drawn}


def small() -> DiffusionRecipe:
    """The model as it is to ship."""
    return DiffusionRecipe()
