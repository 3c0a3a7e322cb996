"""DNSMOS P.835 (Reddy et al. 2022): what listeners would say of a recording, no reference needed.

The network comes with the package speechmos; that package's own code needs librosa to be imported
and is not used. The mapping of raw scores is the published one.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from studio.bench.voices.measures import RATE, Wave

_WINDOW = int(9.01 * RATE)
_FITS = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


class Dnsmos:
    """Scores of a wave at 16 kHz within [-1, 1].

    Raises:
        ImportError: speechmos or onnxruntime is not installed.
    """

    def __init__(self) -> None:
        import onnxruntime

        found = find_spec("speechmos")
        if found is None or found.origin is None:
            raise ImportError("speechmos", name="speechmos")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(Path(found.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"),
            options,
            providers=["CPUExecutionProvider"],
        )

    def __call__(self, wave: Wave) -> dict[str, float | None]:
        """Signal, background and overall scores, 1 to 5.

        A shorter clip is looped to one window of 9.01 s; of a longer one each second begins a
        window, and the mean is given.
        """
        clipped = np.clip(wave, -1.0, 1.0)
        if len(clipped) < _WINDOW:
            clipped = np.resize(clipped, _WINDOW)
        starts = range(0, len(clipped) - _WINDOW + 1, RATE)
        windows = [clipped[start : start + _WINDOW][None] for start in starts]
        raw = np.mean([self._mapped(window) for window in windows], axis=0)
        return dict(zip(_FITS, map(float, raw), strict=True))

    def _mapped(self, window: Wave) -> list[float]:
        answer = np.asarray(self._session.run(None, {"input_1": window.astype(np.float32)})[0])[0]
        return [float(np.polyval(fit, x)) for fit, x in zip(_FITS.values(), answer, strict=True)]
