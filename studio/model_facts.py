"""What a chosen model is, as a folder or in a zip; for the reader's process, as torch comes along.

A zip is looked at without unpacking it: of its weights only the headers are read, and stand in a
folder of files that are as long as the real ones and otherwise empty.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from engines.base import UserError
from studio.unpack import model_members
from studio.workspace import printable, safe_name

_HEADER = 100 << 20  # bytes; safetensors' own limit
_SMALL = 64 << 20  # config, index and tokenizer are never larger


def model_facts(path: Path) -> tuple[str, ...]:
    """Architecture, weights, layers, size and type of a model in a few words each.

    Raises:
        UserError: it is none that can be used; the sentence says why.
    """
    if path.is_dir():
        return _facts(path)
    with tempfile.TemporaryDirectory(prefix="noise-studio-look-") as place:
        shadow = Path(place) / (safe_name(path.stem) or "model")
        shadow.mkdir()
        try:
            with zipfile.ZipFile(path) as packed:
                _cast(packed, shadow, printable(path.name))
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
            raise UserError(
                f"{printable(path.name)} is no zip that can be read; zip the model's folder again"
            ) from error
        return _facts(shadow)


def _facts(folder: Path) -> tuple[str, ...]:
    from engines.quantize.folder import is_diffusion, model_facts

    if is_diffusion(folder):
        from engines.quantize.diffusion.folder import diffusion_facts

        return diffusion_facts(folder)
    return model_facts(folder)


def _cast(packed: zipfile.ZipFile, shadow: Path, named: str) -> None:
    for name, info in model_members(packed, named).items():
        target = shadow.joinpath(*PurePosixPath(name).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        with packed.open(info) as source, target.open("wb") as file:
            if target.suffix == ".safetensors":
                length = source.read(8)
                file.write(length + source.read(min(int.from_bytes(length, "little"), _HEADER)))
                file.truncate(info.file_size)
            elif info.file_size <= _SMALL:
                file.write(source.read())
