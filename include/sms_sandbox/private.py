"""Files with phone numbers: private to this user, for any umask."""

import os
import shutil
from pathlib import Path
from typing import IO, Any

FILE, FOLDER = 0o600, 0o700


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents; an existing folder keeps its mode."""
    for each in reversed([path, *path.parents]):
        if not each.exists():
            each.mkdir(FOLDER, exist_ok=True)
            each.chmod(FOLDER)


def opened(path: Path, mode: str, **how: Any) -> IO[Any]:
    """Open a private file to write or append to."""
    return open(path, mode, opener=descriptor, **how)


def descriptor(path: str | Path, flags: int) -> int:
    """Open a file, private before any byte is written."""
    file = os.open(path, flags | os.O_CLOEXEC, FILE)
    os.fchmod(file, FILE)
    return file


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file, private."""
    with opened(path, "wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def copy(origin: Path, target: Path) -> None:
    """Copy a file's bytes into a private file."""
    with origin.open("rb") as source, opened(target, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
