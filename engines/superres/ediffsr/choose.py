"""From parameters to the networks of `superres.ediffsr`.

| sampler | steps | what it is |
|---|---|---|
| auto | 10 | posterior |
| paper | 100 | the authors' |
| posterior | 10 | exact steps of the linear SDE |
| ode | 10 | probability flow of second order |

EANet's channel attention looks at its whole input, so it is shown pieces of the size that it was
trained on. Their pictures are blended inside each step, so that no seam can build up, and the tiles
of the rest of the studio are much larger than the pieces.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engines.base import Job, UserError
from engines.superres.cost import told
from engines.superres.ediffsr.eanet import EaNet
from engines.superres.ediffsr.params import EdiffsrParams
from engines.superres.ediffsr.sampler import Kind, grid, sample
from engines.superres.noise_field import noise_field
from engines.superres.precision import mixed
from engines.superres.resample import resize
from engines.superres.tiles import Span, plan
from engines.superres.upscaler import Method, Steps, Tiling, Upscaler, chain
from engines.superres.upsr.estimate import upscaler

_SCALE = 4
_FEW = 10
_TILE, _OVERLAP = 256, 48  # of the small picture
_PIECE, _SHARED = 256, 32  # of the large one: the published training size
_OFFICIAL_MACS = 0.70e6 * (_PIECE / (_PIECE - _SHARED)) ** 2  # for a pixel of the result and step


class EdiffsrUpscaler:
    """A sampler of IR-SDE as an `Upscaler`.

    Args:
        network: estimates the large picture.
        mean: gives μ; None is the cubic enlargement of the paper.
        kind: of the sampler.
        count: steps.
        seed: of the noise.
        steps: what to tell, and whom to ask whether to stop.
    """

    def __init__(
        self,
        network: EaNet,
        mean: Upscaler | None,
        kind: Kind,
        count: int,
        seed: int,
        steps: Steps,
    ) -> None:
        self._network, self._mean = network, mean
        self._kind: Kind = kind
        self._times = grid(network.sde, count)
        self._seed, self._steps = seed, steps

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return _SCALE

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`."""
        return Tiling(None, _TILE, _OVERLAP, 16, 4 * 3 * 8 * _SCALE**2)

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`."""
        height, width = (_SCALE * side for side in lr.shape[-2:])
        mean = (
            resize(lr, height, width, "bicubic")
            if self._mean is None
            else self._mean.upscale(lr, place, full)
        )
        y, x = (_SCALE * one for one in place)
        total = len(self._times) - 1

        def draw(number: int) -> Tensor:
            return noise_field(self._seed, number, 3, y, x, height, width)[None].to(lr.device)

        def after(done: int) -> None:
            if done < total:
                self._steps.step(done, total)

        self._steps.step(0, total)
        pieces = _Pieces(self._network, (height, width), self._steps, full)
        return sample(
            pieces, self._network.sde, mean, draw, times=self._times, kind=self._kind, after=after
        )


class _Pieces:
    """The network's estimate of a large picture, blended from overlapping pieces of one size."""

    def __init__(self, network: EaNet, size: tuple[int, int], steps: Steps, full: bool) -> None:
        tiling = Tiling(None, _PIECE, _SHARED, network.multiple)
        self._network, self._steps, self._full = network, steps, full
        self._rows, self._columns = (plan(side, _PIECE, tiling, 1) for side in size)

    def clean(self, x: Tensor, mean: Tensor, t: Tensor) -> Tensor:
        """See `EaNet.clean`."""
        out = torch.zeros_like(x)
        for row in self._rows:
            for column in self._columns:
                self._steps.check()
                there = (..., slice(row.begin, row.end), slice(column.begin, column.end))
                with mixed(x.device, not self._full):
                    found = self._network.clean(x[there], mean[there], t)
                out[there] += _weighted(found.float(), row, column)
        return out


def _weighted(found: Tensor, row: Span, column: Span) -> Tensor:
    if row.weights is not None:
        found = found * row.weights.to(found.device)[:, None]
    if column.weights is not None:
        found = found * column.weights.to(found.device)
    return found


def choose(params: EdiffsrParams, job: Job, factor: float, steps: Steps) -> Method:
    """The networks for a factor.

    Raises:
        UserError: weights are not here, or cannot do what is asked.
    """
    loaded = job.load(params.weights)
    network = loaded.network
    if not isinstance(network, EaNet):
        raise UserError(f"The weights {params.weights} are none of EDiffSR; choose others")
    kind: Kind = "posterior" if params.sampler == "auto" else params.sampler
    count = network.sde.steps if kind == "paper" else params.steps or _FEW
    if kind == "paper" and params.steps not in (None, network.sde.steps):
        raise UserError("The authors' sampler takes 100 steps; for fewer choose another sampler")
    models = {loaded.file.id: loaded.file.sha256}
    mean: Upscaler | None = None
    if named := loaded.file.card.get("mean"):
        found = job.load(str(named))
        mean = upscaler(found)
        models[found.file.id] = found.file.sha256
    one = EdiffsrUpscaler(network, mean, kind, count, params.seed, steps)
    official = loaded.file.state == "official"
    return Method(
        "ediffsr",
        [one] * len(chain(factor, (_SCALE,))),
        models,
        generative=True,
        notes=told(job, _OFFICIAL_MACS * count) if official else (),
    )
