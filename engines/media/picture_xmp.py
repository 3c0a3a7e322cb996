"""XMP packets of pictures: what is no longer true put right, and how the result was made added."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engines.media.provenance import NAMESPACE, to_comment, without_ours

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
# A value as an attribute or as an element: name="6" or <name>6.
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))\s*\d+")
_WIDTH = re.compile(rb"((?:tiff:ImageWidth|exif:PixelXDimension)(?:\s*=\s*[\"']|>))\s*\d+")
_HEIGHT = re.compile(rb"((?:tiff:ImageLength|exif:PixelYDimension)(?:\s*=\s*[\"']|>))\s*\d+")
_THUMBNAILS = re.compile(rb"<xmp:Thumbnails>.*?</xmp:Thumbnails>", re.DOTALL)
_EXTENDED = re.compile(
    rb"xmpNote:HasExtendedXMP\s*=\s*([\"'])[^\"']*\1"
    rb"|<xmpNote:HasExtendedXMP>[^<]*</xmpNote:HasExtendedXMP>"
)
_OURS = re.compile(
    rb"<rdf:Description[^<>]*>\s*<noisestudio:provenance>[^<]*</noisestudio:provenance>\s*"
    rb"</rdf:Description>"
)
_ABOUT = re.compile(rb"rdf:about\s*=\s*[\"']([^\"'<>]*)[\"']")
_CLOSING = re.compile(rb"</\w+:RDF\s*>")
_HEAD = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n<x:xmpmeta xmlns:x="adobe:ns:meta/">'
)
_TAIL = b'</x:xmpmeta>\n<?xpacket end="w"?>'


def upright(packet: bytes) -> bytes:
    """A packet for the turned picture: orientation 1, no thumbnails, nothing in a second part."""
    packet = _ORIENTATION.sub(rb"\g<1>1", packet)
    return _EXTENDED.sub(b"", _THUMBNAILS.sub(b"", packet))


def sized(packet: bytes, width: int, height: int) -> bytes:
    """A packet whose size properties, where it has them, say this size in pixels."""
    packet = _WIDTH.sub(rb"\g<1>%d" % width, packet)
    return _HEIGHT.sub(rb"\g<1>%d" % height, packet)


def with_provenance(packet: bytes | None, provenance: Mapping[str, Any]) -> bytes:
    """A packet that says how the picture was made beside what another one says.

    Args:
        packet: of the input; what we said in it about an earlier step is replaced. One that holds
            no RDF is left out.
        provenance: see `engines.media.provenance.to_xmp`.
    """
    text = without_ours(_OURS.sub(b"", packet or b"").decode("utf-8", "replace")).encode("utf-8")
    closing = next(reversed(list(_CLOSING.finditer(text))), None)
    about = _ABOUT.search(text)
    ours = (
        f'<rdf:Description xmlns:rdf="{_RDF}" xmlns:noisestudio="{NAMESPACE}"'
        f' rdf:about="{about.group(1).decode("utf-8") if about and closing else ""}">'
        f"{to_comment(provenance)}</rdf:Description>"
    ).encode()
    if closing is None:
        rdf = f'<rdf:RDF xmlns:rdf="{_RDF}">'.encode() + ours + b"</rdf:RDF>"
        return _HEAD.encode("utf-8") + rdf + _TAIL
    # The blanks that a packet ends with, room for editing in place, would only be in the way.
    end = text[closing.start() :].split(b"<?xpacket")[0].rstrip()
    return text[: closing.start()] + ours + end + b'\n<?xpacket end="w"?>'
