"""The libraries that community upscalers need, imported only when one is used.

spandrel declares torchvision, which two of its forty architectures use. A stand-in takes that
library's place during the import, so that no other build of torch is drawn in; the two are refused.
"""

from __future__ import annotations

import sys
import types
from importlib.util import find_spec
from typing import Any, cast

from engines.base import UserError

NEEDS_TORCHVISION = ("LaMa", "RestoreFormer")
_STAND_IN = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")


def spandrel() -> Any:
    """The module `spandrel`.

    Raises:
        UserError: it is not installed; says how to.
    """
    if "spandrel" not in sys.modules:
        if lacking := missing_spandrel():
            raise UserError(f"Community upscalers need spandrel; {lacking}")
        stood_in = find_spec("torchvision") is None
        if stood_in:
            _stand_in()
        try:
            import spandrel as _  # noqa: F401
        finally:
            # Other libraries ask whether torchvision is here, and must not believe it.
            for name in _STAND_IN if stood_in else ():
                sys.modules.pop(name, None)
    return sys.modules["spandrel"]


def missing_spandrel() -> str:
    """How to install spandrel, "" where it is there."""
    if find_spec("spandrel") is not None and find_spec("einops") is not None:
        return ""
    return f"install it with `{sys.executable} -m pip install --no-deps spandrel einops`"


def ncnn() -> Any:
    """The module `ncnn`.

    Raises:
        UserError: it is not installed; says how to.
    """
    if find_spec("ncnn") is None:
        raise UserError(
            "Networks of ncnn need its library; install it with "
            f"`{sys.executable} -m pip install ncnn`"
        )
    import ncnn as found

    return found


def _stand_in() -> None:
    modules = {name: types.ModuleType(name) for name in _STAND_IN}
    functional = cast("Any", modules[_STAND_IN[2]])
    functional.InterpolationMode = types.SimpleNamespace(NEAREST="nearest", BILINEAR="bilinear")
    functional.rotate = functional.normalize = _unavailable
    sys.modules.update(modules)


def _unavailable(*_arguments: Any, **_named: Any) -> Any:
    raise UserError(f"{' and '.join(NEEDS_TORCHVISION)} need torchvision, which is not here")
