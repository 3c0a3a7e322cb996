"""Recipe `noiser`: the network that reproduces noise, and has never seen a picture.

Every step is one image of 104 x 104 pixels, N(0, sigma) for each pixel and colour cut to [-1, 1],
as input and as target alike; the loss is the absolute error, and total variation with a weight
(none: crisp; 1: soft). 2000 steps take half a minute on a quiet core, two where others work too.
The picture of the validation is only looked at: it changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn

from engines.base import UserError
from engines.media.picture import PICTURE_SUFFIXES
from engines.raw.noiser.arch import NoiserNet
from engines.raw.noiser.checkpoint import SPEC
from engines.raw.noiser.look import SMALL, Look
from engines.raw.noiser.params import LookParams
from engines.raw.noiser.process import readable
from engines.raw.noiser.rows import PictureRows, made_small
from engines.raw.noiser.transfer import Transfer, encode_srgb, transfer_of
from engines.training.loop import Batch, Recipe, TrainConfig
from engines.weights import BUNDLED

SIDE = 104
STEPS = 2000
_EXAMPLES = BUNDLED.parent / "examples" / "super-resolution"
_STOPS = 4.0  # by which the example is darkened


class NoiserRecipe(Recipe):
    """See the module's text."""

    def __init__(
        self,
        name: str = "noiser",
        *,
        sigma: float = 1.0,
        smooth: float = 0.1,
        seed: int = 1,
        width: int = 32,
        picture: tuple[Tensor, Transfer] | None = None,
        every: float = 300.0,
        steps: int = STEPS,
        step: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up.

        Args:
            name: of the weights.
            sigma: spread of the noise before it is cut to [-1, 1].
            smooth: weight of total variation.
            seed: of the first weights and of the noise.
            width: features of the network.
            picture: (3, h, w) linear light to look at, and its transfer; by default an example,
                darkened.
            every: seconds between two looks.
            steps: images of noise.
            step: called before every step; may raise, and the last look's checkpoint stays.
        """
        self.name = name
        self.title = "NoiSER: brightening, learned from nothing but noise (a minute)"
        self._sigma, self._smooth, self._width, self._step = sigma, smooth, width, step
        self._picture = picture
        self.config = TrainConfig(
            rate=2e-4, final_rate=0.05, warm_up=0.0, steps=steps, average=0.99, betas=(0.5, 0.999),
            validate_every=every, seed=seed,
        )  # fmt: skip

    def network(self) -> nn.Module:
        """See `engines.training.loop.Recipe`."""
        torch.manual_seed(self.config.seed)
        return NoiserNet(self._width)

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Nothing is fetched; the first picture of a folder of the user's is looked at."""
        if self._picture is None:
            self._picture = _darkened(data or _EXAMPLES, 0.0 if data else _STOPS)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"noise": (1, 3, SIDE, SIDE)}."""
        generator = torch.Generator().manual_seed(seed)
        while True:
            self._step()
            drawn = torch.randn(1, 3, SIDE, SIDE, generator=generator) * self._sigma
            yield {"noise": drawn.clamp_(-1.0, 1.0)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Absolute error and total variation of what comes out for the noise that goes in."""
        noise = batch["noise"]
        out = network(noise)
        variation = out.diff(dim=2).square().sum() + out.diff(dim=3).square().sum()
        return (out - noise).abs().mean() + self._smooth * variation / out.numel()

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """The plain network on the picture: mean and spread of what it makes, and correlation with
        what it was given; the figure shows the picture before, by the paper, and as it is shipped.
        """
        if self._picture is None or not isinstance(network, NoiserNet):
            raise UserError("There is no picture to look at; choose one")
        small, transfer = self._picture
        small = small.to(next(network.parameters()).device)
        seen = torch.ones(small.shape[1:], dtype=torch.bool, device=small.device)
        shown = [encode_srgb(small)]
        for method in ("paper", "natural"):
            params = LookParams(method=method)
            look = Look.of(small, seen, transfer, network, params)
            shown.append(encode_srgb(look.apply(small, 0, small.shape[1])))
        paper = shown[1]
        pair = torch.stack([shown[0].mean(0).flatten(), paper.mean(0).flatten()])
        whole = torch.cat(shown, dim=2).clamp(0.0, 1.0).mul(255.0).round().byte()
        cv2.imwrite(str(figure), whole.permute(1, 2, 0).cpu().numpy()[:, :, ::-1])
        return {
            "mean": float(paper.mean()),
            "spread": float(paper.std()),
            "correlation": float(torch.corrcoef(pair)[0, 1]),
        }

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": SPEC.id,
            "config": {"width": self._width},
            "title": "NoiSER",
            "note": "Trained by the recipe in this project on nothing but noise; works offline",
            "licence": "Apache-2.0",
            "source": "trained here by `train noiser`",
            "data": f"Gaussian noise, N(0, {self._sigma:g}) cut to [-1, 1]; no picture",
            "total_variation": self._smooth,
            "seed": self.config.seed,
        }


def _darkened(folder: Path, stops: float) -> tuple[Tensor, Transfer]:
    """The first picture of a folder, made small and dark."""
    files = sorted(folder.glob("*")) if folder.is_dir() else [folder]
    files = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    if not files:
        raise UserError(f"There is no picture in {folder.name}; choose a folder with one")
    picture = readable(files[0])
    transfer = transfer_of(picture.facts.icc)
    small, _ = made_small(PictureRows(picture, transfer), SMALL, lambda: None)
    return small * 2.0**-stops, transfer


def noiser() -> NoiserRecipe:
    """The weights that ship; why these, see `docs` of the recipe's card and `bench lowlight`."""
    return NoiserRecipe()
