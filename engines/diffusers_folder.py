"""A folder of the library diffusers with an unconditional U-Net, as one mapping of tensors.

`config.json` and `diffusion_pytorch_model.safetensors` of a `UNet2DModel` lie in the folder itself
or in its `unet`; a scheduler's `scheduler_config.json` lies there, beside it or in `scheduler`. A
zip of such a folder is as good. The library itself is not needed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from engines.base import UserError

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS = "diffusion_pytorch_model.safetensors"
_ANY = "diffusion_pytorch_model.*"
_NETWORK = "UNet2DModel"
_MOST = 8 << 30  # bytes of a zip's weights


def is_diffusers(path: Path) -> bool:
    """Whether a folder, or a zip of one, or a file in one, names a network of diffusers."""
    if path.is_dir():
        return any(any((path / part).glob(_ANY)) for part in ("", "unet"))
    if path.suffix.lower() == ".zip":
        try:
            with zipfile.ZipFile(path) as packed:
                return any(PurePosixPath(name).name == _WEIGHTS for name in packed.namelist())
        except (OSError, zipfile.BadZipFile):
            return False
    return path.name == _WEIGHTS and (path.parent / "config.json").is_file()


def read_diffusers(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """Tensors by the library's names, and both configs.

    Args:
        path: see `is_diffusers`.

    Returns:
        The tensors, and {"unet": config, "scheduler": config}; a scheduler that is not there is
        an empty mapping.

    Raises:
        UserError: it is another kind of network, or a part is missing or damaged.
    """
    files = _zipped(path) if path.suffix.lower() == ".zip" else _beside(path)
    config = _json(path, files["config.json"])
    if config.get("_class_name") != _NETWORK:
        raise UserError(
            f"{path.name} holds a {config.get('_class_name', 'network')} of diffusers; only the "
            f"unconditional {_NETWORK} can be used here"
        )
    scheduler = _json(path, files["scheduler_config.json"])
    return _tensors(path, files[_WEIGHTS]), {"unet": config, "scheduler": scheduler}


_Found = dict[str, Path | bytes | None]


def _beside(path: Path) -> _Found:
    folder = path if path.is_dir() else path.parent
    if not (folder / "config.json").is_file():
        folder = folder / "unet"
    above = folder.parent if folder.name == "unet" else folder
    places = (folder, above, above / "scheduler")
    scheduler = next((p / "scheduler_config.json" for p in places if _has(p)), None)
    return {
        "config.json": folder / "config.json",
        "scheduler_config.json": scheduler,
        _WEIGHTS: folder / _WEIGHTS,
    }


def _has(folder: Path) -> bool:
    return (folder / "scheduler_config.json").is_file()


def _zipped(path: Path) -> _Found:
    found: _Found = {"config.json": None, "scheduler_config.json": None, _WEIGHTS: None}
    with zipfile.ZipFile(path) as packed:
        for info in packed.infolist():
            name = PurePosixPath(info.filename).name
            if name in found and not info.filename.startswith("__MACOSX"):
                if found[name] is not None or info.file_size > _MOST:
                    raise UserError(f"{path.name} holds several networks; zip one folder alone")
                found[name] = packed.read(info)
    return found


def _json(path: Path, source: Path | bytes | None) -> dict[str, Any]:
    if source is None:
        return {}
    try:
        read = json.loads(source if isinstance(source, bytes) else source.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"A config in {path.name} cannot be read; fetch it again") from error
    return read if isinstance(read, dict) else {}


def _tensors(path: Path, source: Path | bytes | None) -> dict[str, Tensor]:
    from safetensors.torch import load, load_file

    if source is None or (isinstance(source, Path) and not source.is_file()):
        raise UserError(f"{path.name} lacks {_WEIGHTS}; save the network as safetensors")
    return load(source) if isinstance(source, bytes) else load_file(source)
