"""Signal-independent noise drawn by a learned proxy (PNNP) in place of the ELD model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Job, UserError
from engines.raw.pnnp.arch import NoiseProxy
from kernels.bayer import site_order

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Proxy:
    """A proxy at one ISO, in DN of the file.

    Attributes:
        sigma, sigma_row: standard deviations, DN.
        pixel, row: (n,) standard normal values and what becomes of them, DN.
        shade: (4, 16, 16) mean above black of the planes R, G, G, B, DN.
        weights: sha256 of the weights.
    """

    sigma: float
    sigma_row: float
    pixel: tuple[Floats, Floats]
    row: tuple[Floats, Floats]
    shade: Floats
    weights: tuple[str, str]

    def draw(
        self, rows: tuple[int, int], size: tuple[int, int], cfa: str, random: np.random.Generator
    ) -> Floats:
        """(h, w) noise of some rows, the first an even one, of a mosaic of that size, DN."""
        top, bottom = rows
        height, width = size
        n = random.standard_normal((bottom - top, width), dtype=np.float32)
        found = np.interp(n, *self.pixel).astype(np.float32)
        n = random.standard_normal((bottom - top, 1), dtype=np.float32)
        found += np.interp(n, *self.row).astype(np.float32)
        x, y = (
            (np.arange(*ends, dtype=np.float32) + 0.5) / side * self.shade.shape[1] - 0.5
            for ends, side in (((0, width), width), ((top, bottom), height))
        )
        across, down = np.meshgrid(x, y)
        for plane, site in enumerate(site_order(cfa)):
            part = slice(site // 2, None, 2), slice(site % 2, None, 2)
            found[part] += cv2.remap(
                self.shade[plane], np.ascontiguousarray(across[part]),
                np.ascontiguousarray(down[part]), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
            )  # fmt: skip
        return found


def proxy_of(job: Job, weights: str, iso: float, span: float) -> Proxy:
    """The proxy of these weights at an ISO, for a file of that span from black to white.

    Raises:
        UserError: there are no such weights, or they are of another network.
    """
    model: Any = job.load(weights)
    network = model.network
    if not isinstance(network, NoiseProxy):
        raise UserError(f"The weights {weights} are no noise proxy; choose others")
    factor = np.float32(span / max(float(network.span), 1.0))
    pixel, row = network.table("pixel", iso), network.table("row", iso)
    return Proxy(
        network.deviation("pixel", iso) * float(factor),
        network.deviation("row", iso) * float(factor),
        (pixel[0], pixel[1] * factor),
        (row[0], row[1] * factor),
        network.shade(iso) * factor,
        (model.file.id, model.file.sha256),
    )
