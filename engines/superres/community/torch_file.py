"""Upscalers in PyTorch's formats: spandrel finds the architecture, and builds it from the tensors.

Only tensors reach it (`engines.weights.read_checkpoint`), never a pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from engines.base import UserError
from engines.superres.community.library import NEEDS_TORCHVISION, missing_spandrel, spandrel
from engines.superres.upscaler import Tiling
from engines.weights import Checkpoint, NetworkSpec

_TILE, _OVERLAP = 256, 32
_WHOLE = 1024  # where the network tiles by itself
_MEMORY = 16 << 10  # bytes a pixel, as of ESRGAN; attention takes several times that
_USES = ("SR", "Restoration")


class Community(nn.Module):
    """A network that spandrel built; an `engines.superres.upscaler.Upscaler` too."""

    def __init__(self, descriptor: Any) -> None:
        super().__init__()
        self.model: nn.Module = descriptor.model
        self._descriptor = descriptor

    @property
    def architecture(self) -> str:
        """Name of the architecture, such as "SPAN"."""
        return str(self._descriptor.architecture.name)

    @property
    def scale(self) -> int:
        """See `Upscaler`."""
        return int(self._descriptor.scale)

    @property
    def tiling(self) -> Tiling:
        """See `Upscaler`: its radius is not known, so tiles are blended."""
        sizes = self._descriptor.size_requirements
        multiple = max(int(sizes.multiple_of), 1)
        attends = multiple > 1 or self._descriptor.tiling.name != "SUPPORTED"
        side = _WHOLE if self._descriptor.tiling.name == "INTERNAL" else _TILE
        return Tiling(
            halo=None,
            tile=max(side, int(sizes.minimum)),
            overlap=_OVERLAP,
            multiple=multiple,
            bytes_per_pixel=_MEMORY * (4 if attends else 1),
        )

    def upscale(self, lr: Tensor, place: tuple[int, int], full: bool = False) -> Tensor:
        """See `Upscaler`; single-channel networks take the colours one by one."""
        if self._descriptor.input_channels == 1:
            return self._descriptor(lr.transpose(0, 1)).transpose(0, 1)
        return self._descriptor(lr)


def _read(checkpoint: Checkpoint) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    if missing_spandrel():
        return None
    library = spandrel()
    tensors = library.canonicalize_state_dict(dict(checkpoint.tensors))
    try:
        descriptor = library.ModelLoader().load_from_state_dict(dict(tensors))
    except library.UnsupportedModelError:
        return None
    except UserError:
        raise
    except Exception as error:
        # Architectures are told by a few names; what else is wrong shows in many kinds of error.
        raise UserError(
            f"{checkpoint.name} looks like a community upscaler but is incomplete or altered; "
            "fetch it again"
        ) from error
    name = str(descriptor.architecture.name)
    _check(checkpoint.name, name, descriptor, library)
    config = {
        "architecture": name,
        "scale": int(descriptor.scale),
        "tags": [str(tag) for tag in descriptor.tags],
        "purpose": str(descriptor.purpose),
    }
    return {key: tensors[key].clone() for key in tensors}, config


def _check(file: str, name: str, descriptor: Any, library: Any) -> None:
    """Refuse what takes no plain picture, or gives none."""
    if name in NEEDS_TORCHVISION or str(descriptor.architecture.id) in NEEDS_TORCHVISION:
        raise UserError(f"{file} is of {name}, which needs torchvision; choose another upscaler")
    if not isinstance(descriptor, library.ImageModelDescriptor):
        raise UserError(f"{file} is of {name}, which fills holes; choose an upscaler")
    if descriptor.purpose not in _USES:
        raise UserError(f"{file} is of {name}, which takes cut-out faces alone; choose an upscaler")
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels not in ((1, 1), (3, 3)):
        raise UserError(
            f"{file} is of {name} for {channels[0]} channels; choose one for grey or RGB pictures"
        )


def _restore(tensors: Mapping[str, Tensor], _config: Mapping[str, Any]) -> nn.Module:
    library = spandrel()
    try:
        descriptor = library.ModelLoader().load_from_state_dict(dict(tensors))
    except Exception as error:  # as in `_read`
        raise UserError("These weights no longer fit spandrel; add the file again") from error
    return Community(descriptor.to(torch.float32))


def _no_golden(_config: Mapping[str, Any]) -> dict[str, Any]:
    raise UserError("There are no golden numbers of community upscalers")


def _no_run(_network: nn.Module, _inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    raise UserError("There are no golden numbers of community upscalers")


def _build(_config: Mapping[str, Any]) -> nn.Module:
    raise UserError("A community upscaler is built from its file alone")


def _variant(config: Mapping[str, Any]) -> str:
    return f"{config['architecture']} {config['scale']}x"


SPEC = NetworkSpec(
    id="superres.spandrel/torch",
    title="Community upscaler",
    detect=lambda _shapes: None,
    build=_build,
    golden_config=_no_golden,
    golden_run=_no_run,
    expected=(),
    official=lambda _config: False,
    licence="as its source says",
    source="community sites such as OpenModelDB",
    read=_read,
    restore=_restore,
    variant=_variant,
    needs=missing_spandrel,
)
