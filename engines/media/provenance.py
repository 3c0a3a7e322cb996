"""How a file was made, written inside it: one JSON text in our namespace.

Pictures have it in an XMP packet, sounds in their comment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

NAMESPACE = "https://noise-studio.invalid/ns/1.0/"
_FOUND = re.compile(rb"<noisestudio:provenance>(.*?)</noisestudio:provenance>", re.DOTALL)


def to_xmp(provenance: Mapping[str, Any]) -> str:
    """An XMP packet; Camera Raw's own noise reduction is set to off: nothing is left to do.

    `provenance` holds engine, version, weights, parameters, measurements and the input's hash;
    never a path, a host's or a user's name.
    """
    text = escape(json.dumps(provenance, sort_keys=True, ensure_ascii=False))
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/"'
        f' xmlns:noisestudio="{NAMESPACE}"'
        ' xmp:CreatorTool="Noise Studio"'
        ' crs:LuminanceSmoothing="0" crs:ColorNoiseReduction="0">'
        f"<noisestudio:provenance>{text}</noisestudio:provenance>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    )


def to_comment(provenance: Mapping[str, Any]) -> str:
    """The text that a sound's comment ends with; `provenance` as for `to_xmp`."""
    text = escape(json.dumps(provenance, sort_keys=True, ensure_ascii=False))
    return f"<noisestudio:provenance>{text}</noisestudio:provenance>"


def without_ours(comment: str) -> str:
    """A comment without what `to_comment` once added to it."""
    return _FOUND.sub(b"", comment.encode("utf-8", "replace")).decode("utf-8").strip()


def from_file(path: Path) -> dict[str, Any] | None:
    """The provenance inside a DNG, TIFF, JPEG or sound of ours (or in a sidecar JSON), or None."""
    try:
        if path.suffix.lower() == ".json":
            text = path.read_text(encoding="utf-8")
        else:
            text = unescape(_packed_text(path).decode("utf-8"))
        found = json.loads(text)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "engine" in found else None


def _packed_text(path: Path) -> bytes:
    with path.open("rb") as file:
        match = _FOUND.search(file.read(1 << 20))
        if match is None:  # TIFF-like files and WAV may have it behind picture or sound
            file.seek(max(path.stat().st_size - (1 << 20), 0))
            match = _FOUND.search(file.read())
    return match.group(1) if match else b""
