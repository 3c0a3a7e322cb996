"""Recipe `pnnp`: the noise of your camera from your dark frames (`train pnnp --data FOLDER`).

Four or more dark frames at three or more ISO settings are wanted. Without a folder the proxy learns
from frames that the ELD model draws for a published camera, which is what ships, as a demonstration
of the method and no more: the model itself is then the truth.

It takes well under a minute on one core; every step sees all settings, 8192 pixels of each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engines.media.chart import Axis, Chart
from engines.raw.noise.cameras import named
from engines.raw.pnnp.arch import NoiseProxy, Part
from engines.raw.pnnp.checkpoint import SPEC
from engines.raw.pnnp.data import Learned, deviation, made, of_folder
from engines.raw.pnnp.judge import divergences
from engines.raw.pnnp.loss import distribution_loss
from engines.training.loop import Batch, Recipe, TrainConfig

_SAMPLES = 8192
_CAMERA = "sony-a7s-ii"


class PnnpRecipe(Recipe):
    """See the module's text."""

    name = "pnnp"
    title = "PNNP, the noise of a camera from its dark frames"

    def __init__(self) -> None:
        """Nothing is read yet."""
        self.config = TrainConfig(rate=5e-3, final_rate=0.0, steps=800, average=0.98, clip=1.0,
                                  validate_every=20.0)  # fmt: skip
        self.learned: Learned | None = None
        self._made = False

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Measure the dark frames; see `Recipe.prepare`."""
        self._made = data is None
        if data is None:
            self.use(made(named(_CAMERA).profile, seed=1))
            return
        with tempfile.TemporaryDirectory() as folder:
            self.use(of_folder(data, Path(folder)))

    def use(self, learned: Learned) -> None:
        """Learn from these measurements."""
        self.learned = learned

    @property
    def _found(self) -> Learned:
        assert self.learned is not None
        return self.learned

    def network(self) -> nn.Module:
        """A proxy whose scales and frame-wise part are the measured ones."""
        torch.manual_seed(self.config.seed)  # pyright: ignore[reportUnknownMemberType]
        settings = self._found.settings
        network = NoiseProxy(len(settings))
        iso = np.array([one.iso for one in settings])
        network.octave.copy_(torch.from_numpy(np.log2(iso / 100.0)))
        sigmas = [deviation(one.dark.sigma) for one in settings]
        rows = [deviation(one.dark.sigma_row) for one in settings]
        network.log_sigma.copy_(torch.tensor(sigmas))
        network.log_row.copy_(torch.tensor(rows))
        maps = np.stack([one.dark.shade for one in settings])  # (n, 4, 16, 16)
        level = maps.mean(axis=0)
        slope = np.zeros_like(level)
        if len(settings) > 1:
            along = iso - iso.mean()
            slope = np.tensordot(along, maps, axes=1) / float(along @ along)
            level = level - slope * iso.mean()
        left = (maps - slope * iso[:, None, None, None] - level).mean(axis=(1, 2, 3))
        network.slope.copy_(torch.from_numpy(slope))
        network.level.copy_(torch.from_numpy(level))
        network.offset.copy_(torch.from_numpy(left))
        network.span.fill_(self._found.span)
        return network

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"n": (B, S) standard normal, one in each share of the law, "jitter": (2,)}."""
        generator = torch.Generator().manual_seed(seed)
        count = len(self._found.settings)
        while True:
            place = torch.rand(count, _SAMPLES, generator=generator)
            p = (torch.arange(_SAMPLES) + place) / _SAMPLES
            n = torch.special.ndtri(p.double().clamp(1e-7, 1.0 - 1e-7)).float()
            yield {"n": n, "jitter": torch.rand(2, generator=generator)}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The distribution loss of pixels and rows."""
        assert isinstance(network, NoiseProxy)
        device = batch["n"].device
        grid = torch.from_numpy(self._found.grid).float().to(device)
        total = torch.zeros((), device=device)
        parts: tuple[tuple[Part, list[Any]], ...] = (
            ("pixel", [one.quantiles for one in self._found.settings]),
            ("row", [one.rows for one in self._found.settings]),
        )
        for part, laws in parts:
            real = torch.from_numpy(np.stack(laws)).float().to(device)
            drawn = network.centred(part, batch["n"], network.octave)
            total = total + distribution_loss(drawn, grid, real, batch["jitter"])
        return total

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """Kullback-Leibler divergence on rows kept out, worst setting, beside the simpler models.

        The picture shows the quantiles of the highest setting.
        """
        assert isinstance(network, NoiseProxy)
        worst: dict[str, float] = {}
        for one in self._found.settings:
            for name, value in divergences(network, one).items():
                worst[f"kl_{name}"] = max(worst.get(f"kl_{name}", 0.0), float(value))
        last = self._found.settings[-1]
        n, value = network.table("pixel", last.iso)
        reach = float(np.abs(last.quantiles).max()) * 1.05
        chart = Chart(Axis("standard normal", -4.2, 4.2), Axis("noises", -reach, reach))
        for z, q in zip(self._found.grid[::10], last.quantiles[::10], strict=True):
            chart.dot(float(z), float(q), "#3f8f9c", 3.0)
        inside = np.abs(n) <= 4.2
        learned = zip(n[inside][::8], value[inside][::8] / last.dark.sigma, strict=True)
        chart.line([(float(a), float(b)) for a, b in learned], "#b5651d", 2)
        chart.legend([("#3f8f9c", f"ISO {last.iso:.0f}, measured"), ("#b5651d", "learned")])
        chart.save(figure)
        return worst

    def card(self) -> dict[str, Any]:
        """See `Recipe.card`."""
        found = self._found
        note = "Noise proxy learned from dark frames"
        if self._made:
            note = (
                f"A demonstration: learned from dark frames that the ELD model drew for "
                f"{found.model}; train your own with `train pnnp --data FOLDER`"
            )
        return {
            "network": SPEC.id,
            "config": {"settings": len(found.settings), "width": 16, "blocks": 2},
            "title": "PNNP" if not self._made else "PNNP, demonstration",
            "note": note,
            "licence": "Apache-2.0",
            "source": "trained here by `train pnnp`",
            "data": "dark frames made by the ELD model" if self._made else "the user's dark frames",
            "camera": {"model": found.model, "bits": found.bits},
            "iso": [one.iso for one in found.settings],
        }


def camera() -> PnnpRecipe:
    """For `engines.training`."""
    return PnnpRecipe()
