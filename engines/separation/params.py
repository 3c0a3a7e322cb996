"""Parameters of the separation engine; the page's controls and the options are made of them."""

from __future__ import annotations

from typing import Literal

from engines import options
from engines.base import Params, option
from engines.media.sound_format import Depth, Form

Mode = Literal["keep", "remove"]
MaskKind = Literal["soft", "binary"]
Channels = Literal["linked", "each"]
Timeline = Literal["none", "audacity", "csv", "json"]

LONGEST_QUERY = 2000  # characters
MOST_QUERIES = 20

# Some of what the bundled network learned (engines/training/labelled), offered for a click.
WORDS = {
    "Music": (
        "piano", "organ", "acoustic guitar", "violin", "harp", "trumpet", "saxophone", "flute",
        "choir", "drum kit",
    ),
    "People": ("person speaking", "laughter", "crowd talking", "applause", "footsteps"),
    "Animals": ("dog", "cat", "songbird", "rooster", "cow", "horse", "frog", "cricket"),
    "Weather and water": ("rain", "thunder", "wind", "waves", "flowing water", "fire"),
    "Machines and signals": (
        "car engine", "train", "siren", "telephone ringing", "alarm clock", "church bell",
        "clock ticking", "typing",
    ),
}  # fmt: skip


class ClipSepParams(Params):
    """`separation.clipsep`; only the sounds have to be named."""

    query: tuple[str, ...] = option(
        (),
        title="Sounds",
        description="What to look for, in your words; each becomes a track of its own",
        max_length=MOST_QUERIES,
        words=WORDS,
    )
    mode: Mode = option(
        "keep",
        title="These sounds are",
        description="Keep gives each its track, Remove gives the recording without them",
    )
    strength: float = option(
        1.0,
        title="Strength",
        description="How much is taken out; at 0 the recording stays as it is",
        ge=0.0,
        le=1.0,
    )
    negative: tuple[str, ...] = option(
        (),
        title="But not",
        description="What must not be in the tracks, such as drums beside piano",
        max_length=MOST_QUERIES,
        words={},
        advanced=True,
    )
    picture: tuple[str, ...] = option(
        (),
        title="Pictures",
        description="Paths of pictures of what is to be heard, one a line; needs CLIP",
        max_length=MOST_QUERIES,
        local=True,
        advanced=True,
    )
    mask: MaskKind = option(
        "soft",
        title="Mask",
        description="Soft shares each frequency out, Binary gives it to one sound alone",
        advanced=True,
    )
    competition: bool = option(
        True,
        title="Sounds compete",
        description="Several sounds share the recording, so that none is in two tracks",
        advanced=True,
    )
    channels: Channels = option(
        "linked",
        title="Channels",
        description="Linked keeps the stereo picture, each looks at every channel by itself",
        advanced=True,
    )
    noise: bool = option(
        False,
        title="Tracks of unnamed sounds",
        description="Two more tracks of what else is told apart, where the network can",
        advanced=True,
    )
    timeline: Timeline = option(
        "none",
        title="Timeline",
        description="A file of when each sound is heard, such as labels for Audacity",
        advanced=True,
    )
    format: Form = option(
        "same",
        title="Format",
        description="Files that are written; same is the input's, or FLAC where that is lossy",
        advanced=True,
    )
    depth: Depth = options.sound_depth()
    start: float = options.start()
    length: float | None = options.length()
    encoder: str = option(
        "",
        title="Query encoder",
        description="Folder of CLIP or MiniLM that reads the queries; empty takes what is here",
        max_length=1000,
        local=True,
        advanced=True,
    )
    weights: str = options.weights(
        "clipsep-small",
        "The bundled small network, or a checkpoint that you added under Models",
        "separation.clipsep",
    )
