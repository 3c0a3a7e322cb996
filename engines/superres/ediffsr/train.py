"""Recipe `ediffsr-small`: EDiffSR's diffusion at a small size, on clean photographs.

The mean that the diffusion reverts to is the picture of `fast-x4` in place of the cubic one, so
that what little there is to learn on a CPU goes into what that leaves out. The loss is the paper's
distance between means of one step back, which is the absolute error of the noise times a number
that depends on the time alone; that number is chosen so that every time counts alike, and times
are drawn evenly in the logarithm of signal over noise, as the samplers walk through them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from engines.superres.degrade.operator import Bicubic
from engines.superres.ediffsr.eanet import EaNet
from engines.superres.ediffsr.sampler import grid, sample
from engines.superres.ediffsr.sde import IrSde
from engines.superres.fast import FastNet
from engines.superres.judged import judged
from engines.superres.metrics.fidelity import rounded
from engines.superres.noise_field import noise_field
from engines.superres.photos import DATA, HELD_OUT, Crops
from engines.superres.precision import mixed
from engines.superres.upsr.train import regressor
from engines.training.loop import Batch, Recipe, TrainConfig
from engines.weights import ModelFile

_SCALE = 4
_SIDE = 128  # of a training crop
_STEPS = 10  # of the validation's sampling


class EdiffsrRecipe(Recipe):
    """Data, loss and validation of one size of EANet (see the module's text)."""

    def __init__(
        self, name: str, title: str, settings: dict[str, Any], batch: int = 4, held: int = 6
    ) -> None:
        """`held` crops of photos kept out of training are validated on."""
        self.name = name
        self.title = title
        self.settings = settings
        self.batch, self.held = batch, held
        self.config = TrainConfig(rate=1e-3, muon=0.004, final_rate=0.02, average=0.998, half=True)
        self._crops: Crops | None = None
        self._mean: tuple[FastNet, ModelFile] | None = None

    def network(self) -> nn.Module:
        """A fresh network; see `engines.training.loop.Recipe`."""
        torch.manual_seed(self.config.seed)
        network = EaNet(**self.settings)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and the network of the mean."""
        self._mean = regressor(cache.parent, ("fast-x4",))
        self._crops = Crops(cache, data, _SIDE)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless originals with the mean, times 1..T and noise."""
        crops, fast, _ = self._ready()
        random = np.random.default_rng(seed)
        generator = torch.Generator().manual_seed(seed)
        sde = IrSde()
        ratios = torch.tensor([sde.ratio(t) for t in range(1, sde.steps + 1)])
        shares = torch.cat([ratios[:1] - ratios[1:2], ratios[:-1] - ratios[1:]])
        while True:
            high = crops.draw(random, self.batch)
            with torch.no_grad():
                mean = fast(rounded(Bicubic(_SCALE).measure(high)))
            yield {
                "high": high,
                "mean": mean,
                "time": 1 + torch.multinomial(shares, self.batch, True, generator=generator),
                "noise": torch.randn(high.shape, generator=generator),
            }

    def hidden(self, network: nn.Module) -> set[str]:
        """Without gains, and the first and last layers."""
        aside = (".beta", ".gamma", ".g", "intro.weight", "ending.weight")
        return {name for name in super().hidden(network) if not name.endswith(aside)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Absolute error of what the layers of an anchored network give."""
        assert isinstance(network, EaNet)
        high, mean, time = batch["high"], batch["mean"], batch["time"]
        x = network.sde.forward(high, mean, batch["noise"], time)
        wanted = network.wanted(high, x, mean, time)
        x, mean = (one.contiguous(memory_format=torch.channels_last) for one in (x, mean))
        with mixed(x.device):
            found = network.residual(x, mean, time)
        return l1_loss(found.float(), wanted)

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """PSNR-Y in dB and slope of the spectrum of pictures sampled in ten steps and of the mean,
        on photos kept out of training; the picture shows mean, ours and the original.
        """
        assert isinstance(network, EaNet)
        crops, fast, _ = self._ready()
        device = next(network.parameters()).device
        high = crops.held(self.held, 192)
        mean = fast(rounded(Bicubic(_SCALE).measure(high))).to(device)

        def draw(stream: int) -> Tensor:
            fields = [noise_field(seed, stream, 3, 0, 0, 192, 192) for seed in range(len(high))]
            return torch.stack(fields).to(device)

        with mixed(device):
            times = grid(network.sde, _STEPS)
            found = sample(network, network.sde, mean, draw, times=times, kind="posterior")
        pictures = {"mean": rounded(mean.cpu()), "ours": rounded(found.float().cpu())}
        return judged(pictures, high, _SCALE, figure)

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        _, _, file = self._ready()
        return {
            "network": "superres.ediffsr/net",
            "config": self.settings,
            "mean": file.id,
            "title": self.title,
            "note": "Small network (0.4 M weights), trained on a CPU by the recipe of this "
            "project; works offline. The authors' network has 20 M weights and can be added",
            "licence": "Apache-2.0",
            "source": "trained here by `train " + self.name + "`",
            "data": DATA,
            "held_out": list(HELD_OUT),
        }

    def _ready(self) -> tuple[Crops, FastNet, ModelFile]:
        assert self._crops is not None, "prepare() comes first"
        assert self._mean is not None
        return self._crops, *self._mean


def small() -> EdiffsrRecipe:
    """16 channels over four levels."""
    return EdiffsrRecipe(
        "ediffsr-small",
        "EDiffSR, small",
        {
            "width": 16,
            "enc_blk_nums": [4, 1, 1],
            "middle_blk_num": 1,
            "dec_blk_nums": [1, 1, 1],
            "anchored": True,
        },
    )
