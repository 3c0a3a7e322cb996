"""Recipe `eld-small`: a network that knows the sensor's noise and how dark the picture is.

Clean linear mosaics as `engines.raw.yond.train` makes them are made 30 to 300 times darker and get
the noise of a camera at a gain drawn from the published laws (of the Sony also as measured up to
ISO 25600), rows, heavy tails and rounding included. As at run time, the colours' offsets are not
drawn: what a profile knows of them is taken off before, and a network that has to guess them from
one picture cannot (it held our first trials at 22 dB at 300 times). Rows are drawn whole, or what
is left of them once they are taken off. The noise is then stabilised with the gain and read noise
known, white `HEADROOM` times as high as the picture's brightest parts come to lie once amplified.

The loss is that of the picture asked for: the logarithm of the squared error of the amplified
linear light, and a share of the error of its square roots, which the eye sees. The network begins
as the best SNR-Net that ships. With `--data PROFILE.json` the noise is that of one calibrated
camera at its own ISO settings ("a denoiser for my camera"); with a folder, its photographs are
used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.raw.eld.checkpoint import SPEC
from engines.raw.eld.guided import WideUnet
from engines.raw.eld.process import HEADROOM
from engines.raw.eld.train import BLACK, RATIOS, SPAN, show
from engines.raw.noise.cameras import PUBLISHED, named
from engines.raw.noise.model import expose
from engines.raw.noise.profile import CameraProfile, read_profile
from engines.raw.noise.sensor import NO_BIAS, SensorNoise
from engines.raw.yond.grow import grow
from engines.raw.yond.pipeline import T_FACTOR
from engines.raw.yond.train import HELD_OUT, READ_NOISES, SnrNetRecipe
from engines.training.loop import Batch, TrainConfig, bundled_weights
from engines.training.photos import DATA
from kernels.anscombe import bias_table, forward, stabilise
from kernels.bayer import pack, unpack

Floats = NDArray[np.float32]

_BEGIN = "yond-snrnet"
_SONY = "sony-a7s-ii"
_LEFT = 0.3  # of row noise, once rows were taken off
_DIM = 1.5  # stops by which pictures may be darker than they are asked to be


class WideRecipe(SnrNetRecipe):
    """Data, loss and validation (see the module's text)."""

    pushed = 0.0  # each is taken too dark as it is

    def __init__(self, nf: int = 32, batch: int = 4, patch: int = 96) -> None:
        """`nf` is the width of the first level; `patch` a side in packed pixels."""
        super().__init__(
            "eld-small",
            f"ELD, small ({nf} channels)",
            nf=nf,
            config=TrainConfig(rate=4e-4, muon=0.004, clip=5.0, half=True, validate_every=600.0),
            batch=batch,
            patch=patch,
        )
        self.settings = {"nf": nf, "levels": 4, "wide": True}
        self.profile: CameraProfile | None = None

    def network(self) -> nn.Module:
        """A fresh network that does what the best SNR-Net that ships does."""
        network = WideUnet(self.settings["nf"], self.settings["levels"])
        network.initialise(torch.Generator().manual_seed(self.config.seed))
        begin = bundled_weights(_BEGIN)
        if begin is not None and len(begin[0]["conv_in.bias"]) <= self.settings["nf"]:
            grow(network, begin[0])
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and, where one is given, the camera's profile."""
        if data is not None and data.suffix.lower() == ".json":
            self.profile, data = read_profile(data), None
            SensorNoise.of(self.profile.iso[-1], self.profile.model)
        super().prepare(cache, data)

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"noisy": (B, 4, p, p) stabilised, "clean": amplified light, "t": (B,), "back":
        (B, 4)}; see `to_light`.
        """
        random = np.random.default_rng(seed)
        shares = np.array([np.sqrt(p.pixels.shape[0] * p.pixels.shape[1]) for p in self._photos])
        shares = shares / shares.sum()
        while True:
            made: list[Batch] = []
            for _ in range(self.batch):
                clean = self._patch(random, int(random.choice(len(shares), p=shares)))
                ratio = float(np.exp(random.uniform(*np.log(RATIOS))))
                made.append(self.example(clean, ratio, *self._sensor(random), random))
            yield {name: torch.stack([one[name] for one in made]) for name in made[0]}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Logarithm of each patch's squared error, and the mean error of the square roots."""
        noisy = batch["noisy"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(noisy.device.type, torch.bfloat16):
            found = network(noisy, batch["t"])
        found = to_light(found.float(), batch["back"]).clamp(max=1.0)
        clean = batch["clean"]
        squared = (found - clean).square().mean(dim=(1, 2, 3))
        seen = (found.clamp(min=0.0) + 1e-3).sqrt() - (clean + 1e-3).sqrt()
        return (squared + 2e-4).log().mean() + seen.abs().mean()

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """PSNR in dB of the amplified light on photos kept out of training, at three settings;
        the picture shows noisy, denoised and clean.
        """
        random = np.random.default_rng(5)
        device = next(network.parameters()).device
        crops = [self._held_crop(photo, 256, random) for photo in self._held for _ in range(3)]
        figures: dict[str, float] = {}
        rows: list[NDArray[np.uint8]] = []
        for ratio, iso in ((100.0, 6400), (300.0, 6400), (100.0, 25600)):
            profile = self.profile or named(_SONY).profile
            noise = SensorNoise.of(profile.at(iso))
            total = 0.0
            for number, crop in enumerate(crops):
                one = self.example(crop, ratio, replace(noise, bias=NO_BIAS), profile.span, random)
                out = network(one["noisy"][None].to(device), one["t"][None].to(device)).cpu()
                light = [to_light(x, one["back"][None])[0] for x in (one["noisy"][None], out)]
                error = (light[1].clamp(0.0, 1.0) - one["clean"]).square().mean()
                total += float(-10.0 * error.log10()) / len(crops)
                if number == 2:
                    parts = [show(part) for part in (*light, one["clean"])]
                    rows.append(np.concatenate(parts, axis=1))
            figures[f"psnr_x{ratio:.0f}_iso{iso}"] = total
        cv2.imwrite(str(figure), np.concatenate(rows, axis=0)[:, :, ::-1])
        return figures

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        whose = self.profile.model if self.profile else "five published cameras"
        return {
            "network": SPEC.id,
            "config": self.settings,
            "title": self.title,
            "note": f"Begun as YOND's network and trained on a CPU on simulated noise of {whose}; "
            "told the noise of the camera and how dark the picture is; works offline",
            "licence": "Apache-2.0",
            "source": f"trained here by `train {self.name}`",
            "data": DATA,
            "held_out": list(HELD_OUT),
            "ratios": list(RATIOS),
        }

    def _to_raw(self, crop: NDArray[np.uint16], random: np.random.Generator) -> Tensor:
        return super()._to_raw(crop, random) * float(2.0 ** -random.uniform(0.0, _DIM))

    def _sensor(self, random: np.random.Generator) -> tuple[SensorNoise, float]:
        """Of a setting at random, and the camera's span, DN; settings of high ISO more often."""
        if self.profile is not None:
            isos = [one.iso for one in self.profile.iso]
            iso = float(np.exp(random.uniform(np.log(isos[0]), np.log(isos[-1]))))
            noise, span = SensorNoise.of(self.profile.at(iso)), self.profile.span
        elif (number := int(random.integers(len(PUBLISHED) + 1))) < len(PUBLISHED):
            both = (PUBLISHED[number].draw(random) for _ in range(int(random.integers(1, 3))))
            noise, span = max(both, key=lambda one: one.K), SPAN
        else:
            profile = named(_SONY).profile
            iso = float(np.exp(random.uniform(np.log(800.0), np.log(25600.0))))
            noise, span = SensorNoise.of(profile.at(iso)), profile.span
        rows = random.uniform(0.0, _LEFT) if random.random() < 0.5 else random.uniform(0.5, 1.5)
        return replace(noise, bias=NO_BIAS, sigma_row=float(rows) * noise.sigma_row), span

    def example(
        self,
        clean: Tensor,
        ratio: float,
        noise: SensorNoise,
        span: float,
        random: np.random.Generator,
    ) -> Batch:
        """One picture as `batches` has them, without the first dimension.

        Args:
            clean: (4, h, w) light as it is wanted, 0 to 1.
            ratio: how many times darker it is taken.
            noise: of the exposure; rows are reckoned with as noise.
            span: white minus black, DN.
            random: seeded generator.
        """
        height, width = (2 * side for side in clean.shape[1:])
        signal = unpack(clean * (span / ratio), "RGGB", height, width).numpy()
        drawn = np.rint(expose(signal, noise, "RGGB", random))
        drawn = np.clip(drawn, -BLACK / SPAN * span, span).astype(np.float32)
        sigma = float(np.sqrt(noise.deviation**2 + noise.sigma_row**2 + 1.0 / 12.0))
        nearest = int(np.argmin(np.abs(np.log(READ_NOISES * noise.K / sigma))))
        near = abs(math.log(READ_NOISES[nearest] * noise.K / sigma)) < 0.05
        if near:  # what is told of a camera is never quite true
            sigma = float(READ_NOISES[nearest]) * noise.K
        table = self._tables[nearest] if near else bias_table(noise.K, sigma)
        white = span * HEADROOM / ratio
        ends = forward(torch.tensor([0.0, white], dtype=torch.float64), noise.K, sigma)
        low, high = ends.tolist()
        z = stabilise(pack(torch.from_numpy(drawn), "RGGB"), noise.K, sigma, table)
        back = [low, high - low, noise.K * ratio / span, 0.375 + (sigma / noise.K) ** 2]
        return {
            "noisy": (z - low) / (high - low),
            "clean": clean,
            "t": torch.tensor(T_FACTOR / (high - low)),
            "back": torch.tensor(back),
        }


def to_light(n: Tensor, back: Tensor) -> Tensor:
    """Amplified linear light of stabilised planes (B, 4, h, w); `back` is (B, 4): what stands for
    black and for the span to white, electrons to light, and the inverse's constant.
    """
    low, span, light, less = (part.reshape(-1, 1, 1, 1) for part in back.unbind(1))
    z = n * span + low
    return light * (0.25 * z * z.abs() - less)


def small() -> WideRecipe:
    """32 channels over four levels, 2.8 M weights."""
    return WideRecipe()
