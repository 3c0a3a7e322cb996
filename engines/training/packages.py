"""Debian packages as a source of data: fetched without being installed, unpacked once."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from engines.base import UserError


def fetch(package: str, folder: Path) -> Path:
    """Folder with the package's files, `folder/<package>`; fetched by apt on the first call.

    Raises:
        UserError: there is no apt here, or the package cannot be fetched.
    """
    unpacked = folder / package
    if unpacked.exists():
        return unpacked
    folder.mkdir(parents=True, exist_ok=True)
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg")
    if apt is None or dpkg is None:
        raise UserError(
            "The training data comes from Debian packages and there is no apt-get here; "
            "give a folder of your own with --data"
        )
    for old in folder.glob(f"{package}_*.deb"):
        old.unlink()
    fetched = subprocess.run(  # noqa: S603 - fixed arguments
        [apt, "download", package], cwd=folder, capture_output=True, text=True, check=False
    )
    debs = sorted(folder.glob(f"{package}_*.deb"))
    if fetched.returncode or not debs:
        raise UserError(
            f"The package {package} could not be fetched; run apt-get update, or give a folder of "
            "your own with --data"
        )
    partial = unpacked.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    subprocess.run([dpkg, "-x", str(debs[0]), str(partial)], check=True)  # noqa: S603
    partial.rename(unpacked)
    debs[0].unlink()
    return unpacked
