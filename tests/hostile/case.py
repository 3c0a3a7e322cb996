"""One thing that the studio is given, and how archives and tensors of it are written."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RAW, PICTURE, SOUND, MODEL = "raw.noiser", "superres.classical", "speech.storm", "quantize.rtn"


@dataclass(frozen=True)
class Case:
    """One file or folder for `engine`."""

    name: str
    engine: str
    path: Path
    params: Mapping[str, Any] = field(default_factory=dict)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """An archive with names as they are given."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            info = zipfile.ZipInfo("placeholder")
            info.filename = name  # as it is: the constructor mends what leads out
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return made.getvalue()


def safetensors(header: Mapping[str, Any] | None = None) -> bytes:
    """One number, or whatever the header says."""
    text = json.dumps(
        header or {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    ).encode()
    return struct.pack("<Q", len(text)) + text + bytes(4)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
