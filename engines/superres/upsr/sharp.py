"""The diffusion of `superres.upsr`: the regressor's picture, then the U-Net's steps.

The noise is one field over the whole picture, and the walk draws no other, so tiles that overlap
differ only by what they see of their surroundings; they are blended inside each step.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d

from engines.base import Job, UserError
from engines.superres.cost import told
from engines.superres.noise_field import noise_field
from engines.superres.precision import mixed
from engines.superres.stepwise import Stepwise
from engines.superres.upscaler import Method, Steps, Tiling, Upscaler
from engines.superres.upsr.estimate import fast_names, upscaler
from engines.superres.upsr.params import UpsrParams
from engines.superres.upsr.sampler import SCHEDULE, Given, advance
from engines.superres.upsr.schedule import Schedule, share_unsure
from engines.superres.upsr.unet import SCALE, UpsrUnet
from engines.superres.upsr.unsure import Unsure
from engines.weights import LoadedModel

_TILE, _OVERLAP = 192, 48  # three times the published training size; twice the fast net's radius
_OFFICIAL_MACS = 18.1e6 / SCALE**2  # for each pixel of the result and step
_CLEAN_REGRESSOR = "fast-x4"
# Everything that our small network draws where the estimate is sure is speckle, and in clean
# pictures, of which it learned nothing, so are further steps: on held-out photos it loses 3.6 dB to
# the estimate with five steps everywhere, 0.6 with two only where that is unsure (worn ones: 0.5,
# and 0.1 with five only there), and still has more detail.
_FEW = 2
_AROUND = 5  # pixels of the large picture
_AGAIN = 1.03  # factor from which on another network follows


class SharpUpscaler(Stepwise):
    """Regressor and U-Net as an `Upscaler`.

    Args:
        network: the U-Net.
        regressor: of factor 4.
        schedule: the steps to take.
        seed: of the noise.
        steps: what to tell, and whom to ask whether to stop.
        unsure: collects the uncertainty map.
        everywhere: the result is what the diffusion ends at, as with the authors; otherwise that
            goes over into the estimate as far as the estimate is sure.
    """

    def __init__(
        self,
        network: UpsrUnet,
        regressor: Upscaler,
        schedule: Schedule,
        seed: int,
        steps: Steps,
        unsure: Unsure,
        everywhere: bool = True,
    ) -> None:
        super().__init__(steps)
        self.first, self.count = regressor, schedule.steps
        self._network, self._schedule = network, schedule
        self._seed, self._unsure, self._everywhere = seed, unsure, everywhere

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return SCALE

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`."""
        network = self._network
        head = network.conv_last.in_channels
        memory = 4 * (3 * SCALE**2 * head + 16 * network.width)  # maps that live at once
        return Tiling(None, _TILE, _OVERLAP, network.multiple, memory)

    def step(
        self, number: int, lr: Tensor, known: Tensor, state: Tensor | None,
        place: tuple[int, int], full: bool,
    ) -> Tensor:  # fmt: skip
        """See `Stepwise`; a state is x_t."""
        given = Given.of(lr, known)
        if state is None:
            self._unsure.add(place, given.weight)
            height, width = known.shape[-2:]
            y, x = (SCALE * one for one in place)
            noise = noise_field(self._seed, 0, 3, y, x, height, width)[None].to(lr.device)
            state = self._schedule.start(given.cubic, given.weight, noise)
        index = self.count - 1 - number
        with mixed(lr.device, not full):
            state = advance(self._network, state, given, self._schedule, index).float()
        if index:
            return state
        drawn = (state.clamp(-1.0, 1.0) + 1.0) / 2.0
        return drawn if self._everywhere else known + _share(given.weight) * (drawn - known)


def _share(weight: Tensor) -> Tensor:
    """(1, 1, H, W) how unsure the estimate is in the surroundings of each pixel, 0..1."""
    share = share_unsure(weight).mean(dim=1, keepdim=True)
    return avg_pool2d(share, _AROUND, 1, _AROUND // 2, count_include_pad=False)


def sharp(params: UpsrParams, job: Job, factor: float, steps: Steps) -> Method:
    """The diffusion for a factor; beyond 4 the estimators for clean pictures follow.

    Raises:
        UserError: weights are not here, or cannot do what is asked.
    """
    loaded = job.load(params.weights)
    network = loaded.network
    if not isinstance(network, UpsrUnet):
        raise UserError(f"The weights {params.weights} are no diffusion of UPSR; choose others")
    found = job.load(_regressor(params, loaded))
    regressor = upscaler(found)
    if regressor.scale != SCALE:
        raise UserError(
            f"The diffusion starts from four times the size; the weights {found.file.id} give "
            f"{regressor.scale} times"
        )
    official = loaded.file.state == "official"
    learned = official or params.source == "photo"
    schedule = SCHEDULE.of(params.steps or (SCHEDULE.steps if learned else _FEW))
    everywhere = official if params.draw == "auto" else params.draw == "everywhere"
    unsure = Unsure()
    stages: list[Upscaler] = [
        SharpUpscaler(network, regressor, schedule, params.seed, steps, unsure, everywhere)
    ]
    rest = factor / SCALE
    following = [job.load(name) for name in (fast_names(rest, "clean") if rest > _AGAIN else ())]
    stages += [upscaler(one) for one in following]
    return Method(
        "upsr-sharp",
        stages,
        {one.file.id: one.file.sha256 for one in (loaded, found, *following)},
        generative=True,
        notes=told(job, _OFFICIAL_MACS * schedule.steps) if official else (),
        figures=unsure.figures,
    )


def _regressor(params: UpsrParams, diffusion: LoadedModel) -> str:
    """Id of the estimator that the diffusion starts from."""
    named = diffusion.file.card.get("regressor")
    if params.regressor:
        return params.regressor
    if not named:
        raise UserError(
            f"The weights {diffusion.file.id} start from the authors' regressor; add atd_real.pth "
            "under Models and choose it as weights of the estimate"
        )
    return str(named) if params.source == "photo" else _CLEAN_REGRESSOR
