"""A small disk that can be filled: a real one where this user may mount one, or one played."""

import contextlib
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest

PAGE = 4096
SIZE = 512 * PAGE


class Disk:
    """A file system in memory, with `folder` at its top."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, but: int = 0) -> None:
        """Leave no room but for so many pages."""
        with self._filler.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(PAGE))
        size = self._filler.stat().st_size
        os.truncate(self._filler, max(size - but * PAGE, 0))

    def make_room(self) -> None:
        """Let everything fit again."""
        self._filler.unlink(missing_ok=True)


class PlayedDisk(Disk):
    """A folder of an ordinary disk, in which files that are written have room for so many bytes."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        self.room: int | None = None
        disk, whole = self, Path.open

        def open_(path: Path, mode: str = "r", *args: Any, **how: Any) -> Any:
            file = whole(path, mode, *args, **how)
            if "w" not in mode or not path.is_relative_to(folder):
                return file
            return _Full(file, disk)

        patch.setattr(Path, "open", open_)

    def fill(self, but: int = 0) -> None:
        self.room = but * PAGE

    def make_room(self) -> None:
        self.room = None


class _Full:
    """A file that is written until the disk has no room."""

    def __init__(self, file: Any, disk: PlayedDisk) -> None:
        self._file = file
        self._disk = disk

    def write(self, data: Any) -> int:
        size = len(data.encode()) if isinstance(data, str) else memoryview(data).nbytes
        if self._disk.room is not None:
            if self._disk.room < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._disk.room -= size
        return int(self._file.write(data))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextlib.contextmanager
def small_disk(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """The disk for a `with` block."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(["mount", *options], capture_output=True).returncode:
        yield PlayedDisk(folder, patch)
        return
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
