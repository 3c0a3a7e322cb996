"""Writing a film whose picture is new; sound, subtitles and tags are copied without decoding."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.codec import Codec
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from engines.base import UserError
from engines.media.provenance import to_comment, without_ours
from engines.media.sound_ffmpeg import open_media
from engines.media.sound_video import full_disk
from engines.media.video_read import EXACT, KNOWN, Pixels, VideoReader
from engines.media.video_tracks import OtherTracks

# Sounds that an MP4 holds so that players know them; any other goes into a Matroska film.
_MP4_SOUNDS = frozenset("aac mp3 mp2 ac3 eac3 alac flac opus dts".split())
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
_BITS_A_PIXEL = {"libopenh264": 0.12, "mpeg4": 0.25}  # at quality 80
_TAGS_ASIDE = ("major_brand", "minor_version", "compatible_brands", "encoder")
_LOOKAHEAD_BYTES = 200 << 20  # frames that the encoder holds back


def film_suffix(path: Path) -> str:
    """Suffix of the new film: ".mp4", or ".mkv" where an MP4 cannot hold one of its sound tracks.

    Raises:
        UserError: it is no media file.
    """
    try:
        with open_media(path) as original:
            sounds = {one.codec_context.name for one in original.streams.audio if one.codec_context}
    except FFmpegError as error:
        raise UserError(f"{path.name} is no film that can be read") from error
    return ".mp4" if all(name.removesuffix("float") in _MP4_SOUNDS for name in sounds) else ".mkv"


def encoder() -> str:
    """The best encoder that this machine's ffmpeg libraries have."""
    for name in _ENCODERS[:-1]:
        with suppress(Exception):
            Codec(name, "w")
            return name
    return _ENCODERS[-1]


class VideoWriter:
    """A film that is being written; use it in a `with` statement.

    Whole frames are given one after another. The file is there once `close` was called, and not at
    all after an error.

    Args:
        out: the file to write; its suffix is that of `film_suffix`.
        source: the film that the frames are made from; its other tracks are copied.
        reader: that reads it, for its times and what is left out.
        size: (height, width) of the new frames, even numbers.
        quality: 1 to 100.
        provenance: goes into the comment; see `engines.media.provenance`.

    Raises:
        UserError: there can be no such film.
    """

    def __init__(
        self,
        out: Path,
        source: Path,
        reader: VideoReader,
        size: tuple[int, int],
        quality: int,
        provenance: Mapping[str, Any],
    ) -> None:
        self._notes: list[str] = []
        self._out, self._partial = out, out.with_name(out.name + ".partial")
        self._name, self._facts = source.name, reader.facts
        self._time_base = reader.time_base
        self._others = OtherTracks(source, reader)
        muxer = "mp4" if out.suffix == ".mp4" else "matroska"
        options = {"movie_timescale": "90000"} if muxer == "mp4" else {}
        self._file = self._partial.open("w+b", buffering=1 << 18)
        try:
            self._made = av.open(self._file, "w", format=muxer, container_options=options)
            self._picture = self._new_picture(size, quality)
            self._others.add_to(self._made, self._picture, muxer)
            self._tell(provenance)
        except (FFmpegError, ValueError) as error:
            self._give_up()
            raise self._sentence(error) from error
        except BaseException:
            self._give_up()
            raise

    def __enter__(self) -> Self:
        """Gives itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Throw away what was not closed."""
        self._give_up()

    @property
    def notes(self) -> list[str]:
        """Sentences for the person, what is not as in the film."""
        return [*self._notes, *self._others.notes]

    def write(self, pixels: Pixels, pts: int, duration: int) -> None:
        """Encode the next frame: (h, w, 3) RGB, uint8 or uint16, and its times as read.

        Raises:
            UserError: it cannot be encoded.
            OSError: the disk is full.
        """
        try:
            frame = self._frame(pixels)
            frame.pts = pts - round(Fraction(self._others.begin) / self._time_base)
            frame.time_base = self._time_base
            if duration:
                frame.duration = duration
            self._others.copy_up_to(float(pts * self._time_base))
            for packet in self._picture.encode(frame):
                self._made.mux(packet)
        except (FFmpegError, ValueError) as error:
            raise self._sentence(error) from error

    def close(self) -> None:
        """Write what is left and put the film into its place.

        Raises:
            UserError: it cannot be written.
            OSError: the disk is full.
        """
        try:
            for packet in self._picture.encode(None):
                self._made.mux(packet)
            self._others.copy_up_to(None)
            self._made.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            os.replace(self._partial, self._out)
        except (FFmpegError, ValueError) as error:
            raise self._sentence(error) from error

    def _give_up(self) -> None:
        for one in (getattr(self, "_made", None), self._others, self._file):
            if one is not None:
                with suppress(FFmpegError, ValueError, OSError):
                    one.close()
        self._partial.unlink(missing_ok=True)

    def _sentence(self, error: FFmpegError | ValueError) -> Exception:
        return full_disk(error) or UserError(
            f"{self._name} could not be written as a film of this size; choose a smaller scale"
        )

    # --- the picture ------------------------------------------------------------------------------

    def _new_picture(self, size: tuple[int, int], quality: int) -> VideoStream:
        facts = self._facts
        height, width = size
        name = encoder()
        rate = facts.rate or Fraction(25)
        options: dict[str, str] = {}
        if name == "libx264":
            held = min(max(_LOOKAHEAD_BYTES // (height * width * 3 // 2), 3), 40)
            options = {
                "preset": "medium",
                "crf": f"{40.0 - 0.275 * quality:.1f}",  # 18, which is hard to tell apart, at 80
                # The last makes the same film of the same frames each time.
                "x264-params": f"rc-lookahead={held}:sync-lookahead=0:cpu-independent=1",
            }
        elif name == "mpeg4":
            self._notes.append("There is no encoder for H.264 here; the film is MPEG-4 Part 2")
        stream = self._made.add_stream(name, rate=rate.limit_denominator(60_000), options=options)
        assert isinstance(stream, VideoStream)
        deep = facts.bits > 8 and name == "libx264"
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p10le" if deep else "yuv420p"
        if facts.bits > 8 and not deep:
            self._notes.append("The result has 8 bits a sample; the film has more")
        if name in _BITS_A_PIXEL:
            share = _BITS_A_PIXEL[name] * 2.0 ** ((quality - 80) / 15)
            stream.bit_rate = round(share * width * height * float(rate))
        stream.codec_context.thread_count = min(os.cpu_count() or 1, 4)
        stream.codec_context.time_base = self._time_base
        stream.time_base = self._time_base
        stream.codec_context.sample_aspect_ratio = facts.shape
        colours = facts.colours
        stream.color_range, stream.colorspace = colours.range, colours.matrix
        stream.color_primaries, stream.color_trc = colours.primaries, colours.transfer
        if facts.turned is not None:
            a, b, c, d = facts.turned
            stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        return stream

    def _frame(self, pixels: Pixels) -> VideoFrame:
        colours = self._facts.colours
        matrix = colours.matrix if colours.matrix in KNOWN else KNOWN[0]
        form = "rgb48le" if pixels.dtype.itemsize == 2 else "rgb24"
        frame = VideoFrame.from_ndarray(pixels, format=form)
        made = frame.reformat(
            format=self._picture.pix_fmt,
            src_color_range=2,
            dst_colorspace=matrix,
            dst_color_range=colours.range,
            interpolation=EXACT,
        )
        made.colorspace, made.color_range = colours.matrix, colours.range
        made.color_primaries, made.color_trc = colours.primaries, colours.transfer
        return made

    def _tell(self, provenance: Mapping[str, Any]) -> None:
        for name, text in self._others.metadata.items():
            if name not in _TAGS_ASIDE:
                self._made.metadata[name] = text
        comment = without_ours(self._others.metadata.get("comment", ""))
        self._made.metadata["comment"] = f"{comment}\n{to_comment(provenance)}".strip()
