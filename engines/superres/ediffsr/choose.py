"""From parameters to the networks of `superres.ediffsr`.

| sampler | steps | what it is |
|---|---|---|
| auto | 10 | posterior |
| paper | 100 | the authors' |
| posterior | 10 | exact steps of the linear SDE |
| ode | 10 | probability flow of second order |

EANet's channel attention looks at its whole input, so it is shown tiles of the size that it was
trained on, blended inside each step.
"""

from __future__ import annotations

from torch import Tensor

from engines.base import Job, UserError
from engines.superres.cost import told
from engines.superres.ediffsr.eanet import EaNet
from engines.superres.ediffsr.params import EdiffsrParams
from engines.superres.ediffsr.sampler import Kind, advance, grid
from engines.superres.noise_field import noise_field
from engines.superres.precision import mixed
from engines.superres.resample import resize
from engines.superres.stepwise import Stepwise
from engines.superres.upscaler import Method, Steps, Tiling, Upscaler, chain
from engines.superres.upsr.estimate import upscaler

_SCALE = 4
_FEW = 10
_TILE, _OVERLAP = 64, 8  # the published training size
_OFFICIAL_MACS = 0.70e6 * (_TILE / (_TILE - _OVERLAP)) ** 2  # for a pixel of the result and step


class EdiffsrUpscaler(Stepwise):
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
        super().__init__(steps)
        self.first = mean or _Cubic()
        self._network = network
        self._kind: Kind = kind
        self._times = grid(network.sde, count)
        self._seed = seed
        self.count = len(self._times) - 1
        self.width = 6 if kind == "ode" else 3

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return _SCALE

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`."""
        memory = 4 * _SCALE**2 * 12 * self._network.intro.out_channels  # maps that live at once
        return Tiling(None, _TILE, _OVERLAP, 4, memory, fixed=True)

    def step(
        self, number: int, lr: Tensor, known: Tensor, state: Tensor | None,
        place: tuple[int, int], full: bool,
    ) -> Tensor:  # fmt: skip
        """See `Stepwise`."""
        height, width = known.shape[-2:]
        y, x = (_SCALE * one for one in place)

        def draw(stream: int) -> Tensor:
            return noise_field(self._seed, stream, 3, y, x, height, width)[None].to(known.device)

        with mixed(known.device, not full):
            found = advance(
                self._network, self._network.sde, state, known, draw, times=self._times,
                number=number + 1, kind=self._kind,
            )  # fmt: skip
        return found.float()


class _Cubic:
    """The paper's μ."""

    scale = _SCALE
    tiling = Tiling(halo=3, tile=512)

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`."""
        return resize(lr, _SCALE * lr.shape[-2], _SCALE * lr.shape[-1], "bicubic")


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
