"""Recipe `negvsr-small`: NegVSR at a small size, on clips filmed in photographs.

A camera pans, zooms and shakes over photos; clips are worn frame by frame as films from the web
are. The loss is Charbonnier's distance from the original, that of the cleaned frames from the
original made small, and NegVSR's guidance: what is drawn from a negative (noise mixed in, patches
turned) should be what is drawn from the clip itself. The gradient stops at the latter: it is the
better of the two, and the network has to learn from the negative. Half of the batches have one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from engines.superres.degrade.operator import Bicubic
from engines.superres.degrade.video import Footage, half
from engines.superres.metrics.fidelity import psnr_y, rounded
from engines.superres.metrics.temporal import unsteadiness
from engines.superres.negvsr.blocks import ResidualBlock
from engines.superres.negvsr.clips import Clips, Picture, tensor
from engines.superres.negvsr.negatives import draw_turns, mixed_with, turned
from engines.superres.negvsr.net import CARD_THRESHOLD, SCALE, NegVsr
from engines.superres.negvsr.noise import SIDE, library
from engines.superres.photos import DATA, HELD_OUT
from engines.superres.precision import mixed
from engines.training.loop import Batch, Recipe, TrainConfig
from engines.training.photos import photos

_LOW = 48  # side of a training frame at the input's resolution
_FRAMES = 7
_NEGATIVE_SHARE = 0.5  # of batches that have negatives
_GUIDANCE, _CLEANING = 0.2, 0.5  # shares of the loss
_EPSILON = 1e-3  # of Charbonnier's distance
_ONCE = 255.0  # threshold at which a sequence is cleaned once
_HELD_FRAMES = 5


class NegvsrRecipe(Recipe):
    """Data, loss and validation (see the module's text)."""

    def __init__(
        self, name: str, title: str, settings: dict[str, Any], batch: int = 1, low: int = _LOW,
        frames: int = _FRAMES,
    ) -> None:  # fmt: skip
        """`batch` clips of `frames` frames whose sides are `low`, a multiple of 16."""
        self.name, self.title, self.settings = name, title, settings
        self.batch, self.low, self.frames = batch, low, frames
        self.held, self.held_low = 4, 64  # clips that are validated on, and their side
        self.config = TrainConfig(
            rate=5e-4, muon=0.003, final_rate=0.01, betas=(0.9, 0.99), clip=0.5, half=True,
            validate_every=600.0,
        )  # fmt: skip
        self.footage: Footage = half(SCALE)
        self._clips: Clips | None = None
        self._noise: Any = None

    def network(self) -> nn.Module:
        """A fresh network that enlarges bilinearly; see `engines.training.loop.Recipe`."""
        torch.manual_seed(self.config.seed)
        network = NegVsr(**self.settings)
        with torch.no_grad():
            for block in network.modules():
                if isinstance(block, ResidualBlock):
                    block.conv2.weight.mul_(0.1)
            last = network.image_cleaning[1]
            assert isinstance(last, nn.Conv2d)
            for layer in (last, network.basicvsr.conv_last):
                layer.weight.mul_(0.1)
        return network

    def hidden(self, network: nn.Module) -> set[str]:
        """Residual blocks alone; see `engines.training.loop.Recipe`."""
        named = network.named_parameters()
        return {name for name, one in named if ".main.2." in name and one.ndim > 1}

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and the sequences of noise."""
        self._clips = Clips(cache, data, self.low * SCALE, self.frames)
        self._noise = library(cache, data, photos(cache, data), self.frames)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless "low" (B, T, 3, h, w) and "high", in half of them "noise" and "turns"."""
        random = np.random.default_rng(seed)
        while True:
            clips = [self._ready().draw(random) for _ in range(self.batch)]
            found: Batch = {
                "low": torch.stack([self._worn(clip, random) for clip in clips]),
                "high": torch.stack([tensor(clip) for clip in clips]),
            }
            if random.random() < _NEGATIVE_SHARE:
                found["noise"] = torch.stack([self._windows(random) for _ in clips])
                found["turns"] = torch.cat(
                    [draw_turns(random, 1, self.frames, random.random()) for _ in clips]
                )
            yield found

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """See the module's text."""
        assert isinstance(network, NegVsr)
        low, high = batch["low"], batch["high"]
        with mixed(low.device):
            clean = network.clean(low, _ONCE)
        small = interpolate(high.flatten(0, 1), scale_factor=1 / SCALE, mode="area")
        total = _CLEANING * _distance(clean.flatten(0, 1), small)
        flows = network.basicvsr.flows(clean.detach())
        if "noise" not in batch:
            with mixed(low.device):
                found = network.basicvsr(clean, flows=flows)
            return total + _distance(found, high)
        negative = turned(mixed_with(clean, batch["noise"]), batch["turns"])
        both = torch.cat([clean, clean])
        with mixed(low.device):
            found, other = network.basicvsr(
                both,
                torch.cat([clean, negative]),
                tuple(torch.cat([one, one]) for one in flows),
            ).chunk(2)
        guidance = (other - found.detach()).abs().mean()
        return total + _distance(found, high) + _GUIDANCE * guidance

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """PSNR-Y in dB and unsteadiness in levels, ours and bicubic's, on photos kept out."""
        assert isinstance(network, NegVsr)
        device = next(network.parameters()).device
        random = np.random.default_rng(9)
        sums: dict[str, list[float]] = {}
        rows: list[Tensor] = []
        for clip in self._ready().held(self.held, self.held_low * SCALE, _HELD_FRAMES):
            low, high = self._worn(clip, random), tensor(clip)
            with mixed(device):
                found = network(low[None].to(device), _ONCE)[0].float().cpu()
            shown = {"ours": rounded(found), "bicubic": rounded(Bicubic(SCALE).invert(low))}
            for name, one in shown.items():
                each = [psnr_y(o[None], h[None], SCALE) for o, h in zip(one, high, strict=True)]
                sums.setdefault(f"psnr_y_{name}_db", []).append(float(np.mean(each)))
                sums.setdefault(f"unsteady_{name}", []).append(unsteadiness(one, high, SCALE))
            middle = len(clip) // 2
            rows.append(
                torch.cat([shown["bicubic"][middle], shown["ours"][middle], high[middle]], 2)
            )
        picture = (torch.cat(rows[:3], dim=1) * 255.0).byte().permute(1, 2, 0).numpy()
        cv2.imwrite(str(figure), picture[:, :, ::-1])
        return {name: float(np.mean(values)) for name, values in sums.items()}

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        return {
            "network": "superres.negvsr/net",
            "config": self.settings,
            CARD_THRESHOLD: _ONCE,
            "title": self.title,
            "note": "Small network (0.14 M weights), trained on a CPU by the recipe of this "
            "project; works offline. The authors' network has 4.6 M weights and can be added",
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": DATA,
            "held_out": list(HELD_OUT),
        }

    def _worn(self, clip: list[Picture], random: np.random.Generator) -> Tensor:
        return tensor(self.footage.wear(clip, random))

    def _windows(self, random: np.random.Generator) -> Tensor:
        """(T, 3, h, w) of a sequence of noise; it is turned and mirrored at random."""
        assert self._noise is not None, "prepare() comes first"
        windows = np.asarray(self._noise[int(random.integers(len(self._noise)))])
        y, x = (int(random.integers(SIDE - self.low + 1)) for _ in range(2))
        part = windows[:, y : y + self.low, x : x + self.low]
        part = np.rot90(part, int(random.integers(4)), axes=(1, 2))
        part = part[:, :, ::-1] if random.random() < 0.5 else part
        return torch.from_numpy(np.ascontiguousarray(part)).permute(0, 3, 1, 2) / 255.0

    def _ready(self) -> Clips:
        assert self._clips is not None, "prepare() comes first"
        return self._clips


def _distance(found: Tensor, truth: Tensor) -> Tensor:
    return ((found - truth).square() + _EPSILON**2).sqrt().mean()


def small() -> NegvsrRecipe:
    """24 channels, three residual blocks a direction, OpenCV's flow."""
    settings = {"mid": 24, "blocks": 3, "cleaning": 3, "compressed": 8, "hr": 16, "flow": "dis"}
    return NegvsrRecipe("negvsr-small", "NegVSR, small", settings)
