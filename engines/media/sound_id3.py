"""An ID3v2.4 tag for MP3 files: libsndfile's own writes UTF-8 and calls it Latin-1."""

from __future__ import annotations

from collections.abc import Mapping

_FRAMES = {
    "title": b"TIT2",
    "artist": b"TPE1",
    "album": b"TALB",
    "date": b"TDRC",
    "genre": b"TCON",
    "tracknumber": b"TRCK",
    "copyright": b"TCOP",
    "software": b"TSSE",
}
_UTF8 = b"\x03"


def id3_tag(tags: Mapping[str, str]) -> bytes:
    """The tag that stands before the first MP3 frame; b"" without tags (ID3v2.4.0, 2000)."""
    frames = [
        _frame(code, _UTF8 + tags[name].encode("utf-8"))
        for name, code in _FRAMES.items()
        if tags.get(name)
    ]
    if tags.get("comment"):
        text = tags["comment"].encode("utf-8")
        frames.append(_frame(b"COMM", _UTF8 + b"und" + b"\0" + text))
    body = b"".join(frames)
    return b"ID3\x04\0\0" + _size(len(body)) + body if body else b""


def _frame(code: bytes, content: bytes) -> bytes:
    return code + _size(len(content)) + b"\0\0" + content


def _size(count: int) -> bytes:
    """Seven bits in each of four bytes, so that no size looks like the start of an MP3 frame."""
    return bytes(count >> shift & 0x7F for shift in (21, 14, 7, 0))
