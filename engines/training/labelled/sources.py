"""Packages with labelled sounds, and the recordings in them that a source names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from engines.training.labelled.archives import SUFFIXES, is_archive, unpacked
from engines.training.packages import fetch
from engines.training.sounds import reserved


@dataclass(frozen=True)
class Package:
    """A Debian package with sounds.

    Attributes:
        name: the package.
        licence: as its copyright file says.
        kept: only ever measured with, never trained on.
        spoken: prompts of a speaker, which are joined to sentences.
    """

    name: str
    licence: str
    kept: bool = False
    spoken: bool = False


PACKAGES: dict[str, Package] = {
    "tux": Package("tuxpaint-stamps-default", "GPL-2"),
    "tuxvoice": Package("tuxpaint-stamps-default", "GPL-2", spoken=True),
    "linc": Package("lincity-ng-data", "GPL-2+, CC-BY-SA-2.0"),
    "sonic": Package("sonic-pi-samples", "CC0"),
    "sar": Package("searchandrescue-data", "GPL-2"),
    "ttd": Package("openttd-opensfx", "CC-BY-SA-3.0"),
    "wes": Package("wesnoth-1.16-data", "GPL-2+"),
    "hyd": Package("hydrogen-drumkits", "GPL-2+, CC-BY-3.0, CC-BY-SA-3.0, CC0"),
    "hydfx": Package("hydrogen-drumkits-effects", "CC-BY-3.0"),
    "ufo": Package("ufoai-sound", "GPL-2+, CC-BY-3.0, CC-BY-SA-3.0"),
    "clonk": Package("openclonk-data", "ISC, CC-BY-3.0, CC0"),
    "stux": Package("supertux-data", "GPL-3+, CC-BY-SA-3.0, CC0"),
    "warm": Package("warmux-data", "GPL-2+"),
    "gam": Package("gamine-data", "GPL-2+, GPL-3+"),
    "fd": Package("sound-theme-freedesktop", "CC-BY-3.0, CC-BY-SA-3.0, GPL-2+"),
    "oxy": Package("oxygen-sounds", "LGPL-3+"),
    "vox": Package("festvox-ru", "GPL-3, BSD-like", spoken=True),
    "asten": Package("asterisk-core-sounds-en-g722", "CC-BY-SA-3.0", spoken=True),
    "astes": Package("asterisk-core-sounds-es-g722", "CC-BY-SA-3.0", spoken=True),
    "astfr": Package("asterisk-core-sounds-fr-g722", "CC-BY-SA-3.0", spoken=True),
    "astru": Package("asterisk-core-sounds-ru-g722", "CC-BY-SA-3.0", spoken=True),
    "nl": Package("fillets-ng-data-nl", "GPL-2+", spoken=True),
    "klet": Package("klettres-data", "GPL-2+", spoken=True),
    "astit": Package("asterisk-core-sounds-it-g722", "CC-BY-SA-3.0", kept=True, spoken=True),
    "fcs": Package("fillets-ng-data-cs", "GPL-2+", kept=True, spoken=True),
    "gcom": Package("gcompris-qt-data", "GPL-3+, CC-BY-3.0, CC-BY-SA-3.0, Free Art", kept=True),
    "uh": Package("unknown-horizons", "GPL-2+, CC-BY-SA-3.0", kept=True),
    "fil": Package("fillets-ng-data", "GPL-2+", kept=True),
}
# Sound fonts: phrases to train on come from the first ones, those to measure with from the last.
# csound-soundfont holds the same recordings as the last: never train on it.
FONTS: dict[str, Package] = {
    "fluid-soundfont-gm": Package("fluid-soundfont-gm", "MIT"),
    "musescore-general-soundfont-small": Package("musescore-general-soundfont-small", "MIT"),
    "timgm6mb-soundfont": Package("timgm6mb-soundfont", "GPL-2", kept=True),
}
_NOT_SPOKEN = ("/silence/", "beep", "tone", "/digits/", "/letters/")


class Sources:
    """Looks up recordings; packages are fetched when first asked for.

    Args:
        cache: holds `packages/`, shared with the other recipes, and what archives were unpacked.
        find: gives a package's folder; tests give a made-up one.
    """

    def __init__(self, cache: Path, find: Callable[[str, Path], Path] = fetch) -> None:
        self._cache = cache
        self._find = find
        self._known: dict[str, list[tuple[str, Path]]] = {}

    def folder(self, package: str) -> Path:
        """The unpacked package.

        Raises:
            UserError: it cannot be fetched.
        """
        return self._find(package, self._cache / "packages")

    def files(self, alias: str) -> list[tuple[str, Path]]:
        """(path in the package, file) of every sound, archives unpacked, reserved ones left out.

        Raises:
            UserError: the package cannot be fetched, or an archive in it is damaged.
        """
        if alias not in self._known:
            package = PACKAGES[alias]
            found = []
            for path, file in self._all(package.name):
                described = "_desc" in file.stem
                if package.name.startswith("tuxpaint") and described != package.spoken:
                    continue
                if package.spoken and any(mark in path for mark in _NOT_SPOKEN):
                    continue
                found.append((path, file))
            self._known[alias] = found
        return self._known[alias]

    def matching(self, source: str) -> list[Path]:
        """Files that `package:pattern` names, in the order of their paths.

        Raises:
            UserError: as `files` does.
        """
        alias, _, pattern = source.partition(":")
        return [
            file
            for path, file in self.files(alias)
            if fnmatchcase("/" + path, pattern) or fnmatchcase(file.name, pattern)
        ]

    def font(self, package: str) -> Path:
        """The sound font of a package.

        Raises:
            UserError: the package cannot be fetched.
        """
        return sorted(self.folder(package).rglob("*.sf[23]"))[0]

    def _all(self, package: str) -> list[tuple[str, Path]]:
        root = self.folder(package)
        beside = self._cache / "labelled" / package
        found = []
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root).as_posix()
            if ".parts/" in inside:  # another recipe's pieces of a catalogue
                continue
            if is_archive(path):
                parts = unpacked(path, beside)
                found += [
                    (f"{inside}/{part.relative_to(parts).as_posix()}", part)
                    for part in sorted(parts.rglob("*"))
                    if part.is_file()
                ]
            elif path.suffix.lower() in SUFFIXES and path.is_file():
                found.append((inside, path))
        return [one for one in found if not reserved(one[1].name)]
