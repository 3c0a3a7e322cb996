"""The diffusion of `superres.upsr`: the regressor's picture, then the U-Net's steps, tile by tile.

The noise is one field over the whole picture, and the walk draws no other, so tiles that overlap
differ only by what they see of their surroundings; they are blended.
"""

from __future__ import annotations

from torch import Tensor

from engines.base import Job, UserError
from engines.superres.cost import told
from engines.superres.noise_field import noise_field
from engines.superres.precision import mixed
from engines.superres.upscaler import Method, Steps, Tiling, Upscaler
from engines.superres.upsr.estimate import fast_names, upscaler
from engines.superres.upsr.params import UpsrParams
from engines.superres.upsr.sampler import SCHEDULE, Given, sample
from engines.superres.upsr.schedule import Schedule
from engines.superres.upsr.unet import SCALE, UpsrUnet
from engines.superres.upsr.unsure import Unsure
from engines.weights import LoadedModel

_TILE, _OVERLAP = 192, 48  # three times the published training size; twice the fast net's radius
_OFFICIAL_MACS = 18.1e6 / SCALE**2  # for each pixel of the result and step
_CLEAN_REGRESSOR = "fast-x4"
_AGAIN = 1.03  # factor from which on another network follows


class SharpUpscaler:
    """Regressor and U-Net as an `Upscaler`.

    Args:
        network: the U-Net.
        regressor: of factor 4.
        schedule: the steps to take.
        seed: of the noise.
        steps: what to tell, and whom to ask whether to stop.
        unsure: collects the uncertainty map.
    """

    def __init__(
        self,
        network: UpsrUnet,
        regressor: Upscaler,
        schedule: Schedule,
        seed: int,
        steps: Steps,
        unsure: Unsure,
    ) -> None:
        self._network, self._regressor, self._schedule = network, regressor, schedule
        self._seed, self._steps, self._unsure = seed, steps, unsure

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

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`."""
        total = self._schedule.steps
        self._steps.check()
        self._steps.step(0, total)
        given = Given.of(lr, self._regressor.upscale(lr, place, full))
        self._unsure.add(place, given.weight)
        height, width = given.cubic.shape[-2:]
        y, x = (SCALE * one for one in place)
        noise = noise_field(self._seed, 0, 3, y, x, height, width)[None].to(lr.device)

        def after(done: int) -> None:
            self._steps.check()
            if done < total:
                self._steps.step(done, total)

        with mixed(lr.device, not full):
            found = sample(self._network, given, noise, schedule=self._schedule, after=after)
        return found.float()


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
    schedule = SCHEDULE.of(params.steps or SCHEDULE.steps)
    unsure = Unsure()
    stages: list[Upscaler] = [
        SharpUpscaler(network, regressor, schedule, params.seed, steps, unsure)
    ]
    rest = factor / SCALE
    following = [job.load(name) for name in (fast_names(rest, "clean") if rest > _AGAIN else ())]
    stages += [upscaler(one) for one in following]
    official = loaded.file.state == "official"
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
