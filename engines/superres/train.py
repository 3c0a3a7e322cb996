"""Recipes `fast-x2`, `fast-x4` and `fast-x4-photo`: the fidelity network that ships.

Crops of photographs, reduced by an antialiased cubic filter ("clean"), or worn as files from the
web are ("photo": UPSR's two-stage degradation at half its range, as full ranges make a small
network too smooth). For clean pictures the loss is the squared error, luma's counting once more:
that is what a fidelity network is asked for, and an edge of lettering weighs more in it. For worn
ones it is Charbonnier's, close to the absolute error. The body is moved by Muon. The first 3 300
steps of `fast-x4` were Adam's, and up to 14 429 its loss was Charbonnier's; where that had come to
rest, 1 200 steps of the squared error won 0.1 dB on the photos kept out. On one core of a CPU with
bfloat16 a batch of 16 crops of 192 pixels takes 0.8 s.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from engines.superres.degrade.operator import Bicubic
from engines.superres.degrade.practical import half
from engines.superres.fast import FastNet
from engines.superres.metrics.fidelity import luma, psnr_y, rounded
from engines.superres.photos import DATA, HELD_OUT, Crops
from engines.superres.precision import mixed
from engines.training.loop import Batch, Recipe, TrainConfig, bundled_weights

_LOW = 48  # side of a training crop at the input's resolution
_EPSILON = 1e-3  # of Charbonnier's loss
_LUMA, _LUMA_RANGE = 2.0, 219.0  # weight of luma's squared error; its levels from black to white
Source = Literal["clean", "photo"]


class FastRecipe(Recipe):
    """Data, loss and validation of one `FastNet` (see the module's text)."""

    def __init__(
        self,
        name: str,
        title: str,
        scale: int,
        source: Source,
        *,
        begin: str = "",
        size: tuple[int, int] = (64, 8),
        batch: int = 16,
    ) -> None:
        """`size` is channels and blocks; `begin` names weights that ship, to start from."""
        self.name = name
        self.title = title
        self.scale = scale
        self.source: Source = source
        self.begin = begin
        self.batch = batch
        self.settings = {"scale": scale, "channels": size[0], "blocks": size[1]}
        self.config = TrainConfig(
            rate=2e-4 if begin else 5e-4,
            muon=0.002 if begin else 0.005,
            final_rate=0.01,
            average=0.999,
            clip=0.5,
            half=True,
        )
        self._crops: Crops | None = None

    def network(self) -> nn.Module:
        """A fresh network; its body is that of weights that ship, where the recipe names some."""
        torch.manual_seed(self.config.seed)
        network = FastNet(**self.settings)
        shipped = bundled_weights(self.begin) if self.begin else None
        if shipped is not None:
            same = network.state_dict()
            told = {k: v.float() for k, v in shipped[0].items() if same[k].shape == v.shape}
            network.load_state_dict(same | told)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def hidden(self, network: nn.Module) -> set[str]:
        """The body; see `engines.training.loop.Recipe`."""
        named = network.named_parameters()
        return {name for name, one in named if name.startswith("body.") and one.ndim > 1}

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and find where they are sharp."""
        self._crops = Crops(cache, data, _LOW * self.scale)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"low": (B, 3, 48, 48), "high": (B, 3, 48·s, 48·s)}."""
        random = np.random.default_rng(seed)
        while True:
            high = self._ready().draw(random, self.batch)
            yield {"low": self._worn(high, random), "high": high}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Squared error of RGB values and of luma, or Charbonnier's distance of RGB values."""
        assert isinstance(network, FastNet)
        low = batch["low"].contiguous(memory_format=torch.channels_last)
        with mixed(low.device):
            detail = network.detail(low)
        found = network.enlarged(low) + detail.float()
        error = found - batch["high"]
        if self.source == "photo":
            return (error.square() + _EPSILON**2).sqrt().mean()
        grey = (luma(found) - luma(batch["high"])) / _LUMA_RANGE
        return error.square().mean() + _LUMA * grey.square().mean()

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """PSNR-Y in dB on photos kept out of training, and its lead over cubic enlargement."""
        high = self._ready().held(12, 64 * self.scale)
        low = self._worn(high, np.random.default_rng(9))
        device = next(network.parameters()).device
        found = rounded(network(low.to(device)).cpu())
        plain = rounded(Bicubic(self.scale).invert(low))
        ours, theirs = (
            [psnr_y(o[None], h[None], self.scale) for o, h in zip(one, high, strict=True)]
            for one in (found, plain)
        )
        rows = [torch.cat([plain[i], found[i], high[i]], dim=2) for i in (0, 1, 2)]
        picture = (torch.cat(rows, dim=1) * 255.0).byte().permute(1, 2, 0).numpy()
        cv2.imwrite(str(figure), picture[:, :, ::-1])
        gains = np.array(ours) - np.array(theirs)
        return {
            "psnr_y_db": float(np.mean(ours)),
            "gain_db": float(gains.mean()),
            "smallest_gain_db": float(gains.min()),
        }

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": "superres.upsr/fast",
            "config": self.settings,
            "source_of_pictures": self.source,
            "title": self.title,
            "note": "Small network (0.6 M weights), trained on a CPU by the recipe of this "
            "project; works offline. The authors' regressor (ATD, 2.6 M weights) can be added",
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": DATA,
            "held_out": list(HELD_OUT),
        }

    def _worn(self, high: Tensor, random: np.random.Generator) -> Tensor:
        if self.source == "clean":
            return rounded(Bicubic(self.scale).measure(high))
        pictures = high.permute(0, 2, 3, 1).contiguous().numpy()
        worn = np.stack([half(self.scale).wear(picture, random) for picture in pictures])
        return torch.from_numpy(worn).permute(0, 3, 1, 2).contiguous()

    def _ready(self) -> Crops:
        assert self._crops is not None, "prepare() comes first"
        return self._crops


def fast_x2() -> FastRecipe:
    """Twice the size; begins with the body of four times."""
    return FastRecipe("fast-x2", "Fast 2x", 2, "clean", begin="fast-x4")


def fast_x4() -> FastRecipe:
    """Four times the size, from pictures that are clean."""
    return FastRecipe("fast-x4", "Fast 4x", 4, "clean")


def fast_x4_photo() -> FastRecipe:
    """Four times the size, from photographs as they are found; begins with the clean network."""
    return FastRecipe("fast-x4-photo", "Fast 4x, photographs", 4, "photo", begin="fast-x4")
