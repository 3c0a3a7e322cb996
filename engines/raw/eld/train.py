"""Recipe `eld-unet`: ELD's own U-Net trained on noise that its model draws.

Clean linear mosaics come from photographs (`engines.raw.unprocess`). Each is made 30 to 300 times
darker, gets the noise of a camera and a gain drawn from the published laws, rows and rounding
included, and is amplified again; the network is to give the clean one back, by the absolute error
in linear light. With `--data PROFILE.json` the noise is that of one calibrated camera at its own
ISO settings ("a denoiser for my camera"); with a folder, the photographs in it are used.

The colours' offsets in the dark are not drawn: they are taken off before where a profile knows
them, and a network that has to guess them from one picture cannot (it held a first trial at 22 dB
at 300 times).

The published network has 7.8 million weights and learned for days; this one has 1.9 million. As
there is no skip around the whole, it would take most of its time to learn to copy: it starts as
the identity, through four channels that carry the planes along the uppermost skip. After 19 minutes
on one core it was 0.5 to 1.8 dB behind blind YOND; what ships is `engines.raw.eld.train_wide`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engines.raw.eld.arch import PLANES, SeeInDark
from engines.raw.eld.checkpoint import SPEC
from engines.raw.noise.cameras import PUBLISHED
from engines.raw.noise.model import expose
from engines.raw.noise.profile import CameraProfile, read_profile
from engines.raw.noise.sensor import NO_BIAS, SensorNoise
from engines.raw.unprocess import unprocess
from engines.training.loop import Batch, Recipe, TrainConfig
from engines.training.photos import DATA, Photo, photos, sharp_places

_HELD_OUT = ("wallpapers-Path", "Lichen-Branches", "Bridge_by", "wallpapers-Grey")
RATIOS = (30.0, 300.0)
BLACK, SPAN = 800.0, 16383.0 - 800.0  # as the published laws were used
_ROOM = 0.05  # of white that a level may lie below black before it is cut

Floats = NDArray[np.float32]


class EldRecipe(Recipe):
    """Data, loss and validation (see the module's text)."""

    name = "eld-unet"
    title = "ELD U-Net as published, small (16 channels)"

    def __init__(self, nf: int = 16, batch: int = 8, patch: int = 64) -> None:
        """`nf` is the width of the first level, at least 8; `patch` a side in packed pixels."""
        self.nf = nf
        self.batch = batch
        self.patch = patch
        self.config = TrainConfig(
            rate=1.5e-3, final_rate=0.02, average=0.998, clip=1.0, half=True,
            validate_every=240.0,
        )  # fmt: skip
        self.profile: CameraProfile | None = None
        self._photos: list[Photo] = []
        self._held: list[Photo] = []
        self._places: list[NDArray[np.intp]] = []

    def network(self) -> nn.Module:
        """A fresh network that copies its input; see `engines.training.loop.Recipe`."""
        network = SeeInDark(self.nf)
        network.initialise(torch.Generator().manual_seed(self.config.seed))
        copying(network)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def prepare(self, cache: Path, data: Path | None) -> None:
        """Load the photos and, where one is given, the camera's profile."""
        if data is not None and data.suffix.lower() == ".json":
            self.profile, data = read_profile(data), None
            SensorNoise.of(self.profile.iso[-1], data_name(self.profile))
        found = photos(cache, data)
        held = [photo for photo in found if any(mark in photo.name for mark in _HELD_OUT)]
        self._held = held or found[:: max(len(found) // 4, 1)][:4]
        self._photos = [photo for photo in found if photo not in self._held] or found
        self._places = [sharp_places(photo, 2 * self.patch) for photo in self._photos]

    def batches(self, seed: int) -> Iterator[Batch]:
        """Endless {"noisy", "clean": (B, 4, p, p)} amplified planes."""
        random = np.random.default_rng(seed)
        while True:
            made = [self._example(self._patch(random), random) for _ in range(self.batch)]
            noisy, clean = (torch.stack(part) for part in zip(*made, strict=True))
            yield {"noisy": noisy, "clean": clean}

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Mean absolute error, and a share of the one of the square roots, which the eye sees."""
        noisy = batch["noisy"].contiguous(memory_format=torch.channels_last)
        with torch.autocast(noisy.device.type, torch.bfloat16):
            found = network(noisy).float()
        clean = batch["clean"]
        seen = (found.clamp(min=0.0) + 1e-3).sqrt() - (clean + 1e-3).sqrt()
        return (found - clean).abs().mean() + 0.5 * seen.abs().mean()

    def validate(self, network: nn.Module, figure: Path) -> dict[str, float]:
        """PSNR in dB at three ratios on photos kept out of training, and that of the input; the
        picture shows noisy, denoised and clean.
        """
        random = np.random.default_rng(5)
        device = next(network.parameters()).device
        side = 192
        mosaics = [self._held_crop(photo, side, random) for photo in self._held for _ in (0, 1)]
        figures: dict[str, float] = {}
        rows: list[NDArray[np.uint8]] = []
        for ratio in (50.0, 100.0, 300.0):
            before = after = 0.0
            for number, mosaic in enumerate(mosaics):
                noisy, clean = self._example(mosaic, random, ratio)
                out = network(noisy[None].to(device))[0].cpu().clamp(0.0, 1.0)
                before += float((noisy.clamp(0.0, 1.0) - clean).square().mean())
                after += float((out - clean).square().mean())
                if number == 2:
                    parts = [show(part) for part in (noisy, out, clean)]
                    rows.append(np.concatenate(parts, axis=1))
            count = len(mosaics)
            figures[f"psnr_x{ratio:.0f}"] = float(-10.0 * np.log10(after / count))
            figures[f"input_x{ratio:.0f}"] = float(-10.0 * np.log10(before / count))
        cv2.imwrite(str(figure), np.concatenate(rows, axis=0)[:, :, ::-1])
        return figures

    def card(self) -> dict[str, Any]:
        """See `engines.training.loop.Recipe`."""
        whose = data_name(self.profile) if self.profile else "five published cameras"
        return {
            "network": SPEC.id,
            "config": {"nf": self.nf},
            "title": f"ELD U-Net, small ({self.nf} channels)",
            "note": f"Trained on a CPU on simulated noise of {whose}; the authors' networks are "
            "four times as large and can be added from their files",
            "licence": "Apache-2.0",
            "source": f"trained here by `train {self.name}`",
            "data": DATA,
            "held_out": list(_HELD_OUT),
            "ratios": list(RATIOS),
        }

    def _patch(self, random: np.random.Generator) -> Floats:
        """A linear RGGB mosaic of twice the patch's side, from a training photo."""
        index = int(random.integers(len(self._photos)))
        photo, places = self._photos[index], self._places[index]
        side = 2 * self.patch
        y, x = places[int(random.integers(len(places)))]
        zoom = float(random.choice([1.0, 1.5, 2.0]))
        window = round(side * zoom)
        height, width = photo.pixels.shape[:2]
        y = min(max(int(y + random.integers(-side // 2, side // 4 + 1)), 0), height - window)
        x = min(max(int(x + random.integers(-side // 2, side // 4 + 1)), 0), width - window)
        crop = photo.pixels[y : y + window, x : x + window]
        if window != side:
            crop = np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA))
        return _mosaic(crop, random)

    @staticmethod
    def _held_crop(photo: Photo, side: int, random: np.random.Generator) -> Floats:
        places = sharp_places(photo, side)
        y, x = places[int(random.integers(len(places)))]
        return _mosaic(photo.pixels[y : y + side, x : x + side], random)

    def _example(
        self, clean: Floats, random: np.random.Generator, ratio: float | None = None
    ) -> tuple[Tensor, Tensor]:
        """Noisy and clean planes, amplified."""
        if ratio is None:
            ratio = float(np.exp(random.uniform(*np.log(RATIOS))))
        noise, span = self._noise(random)
        signal = expose(clean * np.float32(span / ratio), noise, "RGGB", random)
        level = np.clip(np.rint(signal), -BLACK / SPAN * span, span)
        noisy = np.clip(level * np.float32(ratio / span), -_ROOM * ratio, 1.0)
        return _packed(noisy.astype(np.float32)), _packed(clean)

    def _noise(self, random: np.random.Generator) -> tuple[SensorNoise, float]:
        """Of a setting at random, and the camera's span, DN."""
        if self.profile is None:
            drawn = PUBLISHED[int(random.integers(len(PUBLISHED)))].draw(random)
            return replace(drawn, bias=NO_BIAS), SPAN
        first, last = self.profile.iso[0].iso, self.profile.iso[-1].iso
        iso = float(np.exp(random.uniform(np.log(first), np.log(last))))
        noise = SensorNoise.of(self.profile.at(iso), data_name(self.profile))
        return replace(noise, bias=NO_BIAS), self.profile.span


def copying(network: SeeInDark) -> None:
    """Let a fresh network give its input back, in place.

    Four channels of the first level carry the planes; LeakyReLU passes what is positive, and a
    plane with the opposite sign in four more carries what is not.
    """

    def only(name: str, out: int, into: int, weight: float) -> None:
        layer = network.get_submodule(name)
        assert isinstance(layer, nn.Conv2d)
        middle = layer.kernel_size[0] // 2
        layer.weight[out, into, middle, middle] = weight

    width = network.get_parameter("conv1_1.bias").numel()
    carried = range(2 * PLANES)
    with torch.no_grad():
        for name in ("conv1_1", "conv1_2", "conv9_1", "conv9_2"):
            network.get_parameter(f"{name}.weight")[: 2 * PLANES] = 0.0
        network.get_parameter("conv10_1.weight").zero_()
        for n in range(PLANES):
            only("conv1_1", n, n, 1.0)
            only("conv1_1", n + PLANES, n, -1.0)
            # LeakyReLU(x) - LeakyReLU(-x) = 1.2 x: of each pair the difference is the plane.
            only("conv10_1", n, n, 1.0)
            only("conv10_1", n, n + PLANES, -1.0)
        for n in carried:
            only("conv1_2", n, n, 1.0)
            only("conv9_1", n, width + n, 1.0)
            only("conv9_2", n, n, 1.0)
        # Each of four activations keeps positive parts and takes 0.2 of negative ones.
        network.get_parameter("conv10_1.weight").div_(1.0 + 0.2**4)


def data_name(profile: CameraProfile) -> str:
    """What a camera is called in a card."""
    return profile.model


def _mosaic(crop: NDArray[Any], random: np.random.Generator) -> Floats:
    rgb = unprocess(crop.astype(np.float32) / np.float32(65535.0), random)
    rgb = np.rot90(rgb, int(random.integers(4)))
    if random.random() < 0.5:
        rgb = rgb[:, ::-1]
    out = np.empty(rgb.shape[:2], dtype=np.float32)
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        out[y::2, x::2] = rgb[y::2, x::2, channel]
    return out


def _packed(mosaic: Floats) -> Tensor:
    planes = [mosaic[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    return torch.from_numpy(np.ascontiguousarray(np.stack(planes)))


def show(planes: Tensor) -> NDArray[np.uint8]:
    """(4, h, w) linear planes -> (h, w, 3) uint8 for the validation picture."""
    rgb = torch.stack([planes[0] * 2.0, (planes[1] + planes[2]) / 2, planes[3] * 1.7], dim=-1)
    return (rgb.clamp(0, 1) ** (1 / 2.2) * 255).byte().numpy()


def unet() -> EldRecipe:
    """16 channels, 1.9 M weights."""
    return EldRecipe()
