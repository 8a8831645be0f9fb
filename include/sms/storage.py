"""Files with personal data: private to their owner, complete, errors as sentences.

Every file and folder of a run, of the archive and of the command line is opened, created and
deleted here, through any path object with pathlib's methods. Their content is the callers' matter.
"""

import contextlib
import errno
import io
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, Protocol, Self, cast

from sms import remedies
from sms.errors import SmsError, StorageFailed, StorageGone


class StoragePath(Protocol):
    """A path with pathlib's verbs: pathlib.Path, upath.UPath, Airflow's ObjectStoragePath."""

    @property
    def name(self) -> str: ...

    @property
    def parent(self) -> Self: ...

    def __truediv__(self, name: str, /) -> Self: ...

    def open(self, mode: str, /) -> IO[Any]: ...


FILE, FOLDER = 0o600, 0o700  # for any umask

# These errors last until an operator acts.
LASTING = frozenset(
    {
        *(errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR),
        *(errno.EEXIST, errno.EFBIG, errno.ENAMETOOLONG, errno.ELOOP),
    }
)
MOUNT = "mount it for writing, or name another folder"
RIGHTS = "give this user the right to read and write there"
ADVICE = {
    errno.ENOSPC: "make room there; the next try writes it anew",
    errno.EDQUOT: "make room there or raise the quota; the next try writes it anew",
    errno.EROFS: MOUNT,
    errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS,
    errno.ENOENT: (
        "mount its disk or restore it from a backup; of a run whose folder is lost, "
        f"{remedies.CALL_OFF}, and {remedies.NEW_RUN}"
    ),
    errno.EFBIG: "raise the limit on the size of files (ulimit -f, LimitFSIZE)",
    errno.EMFILE: "raise the limit of open files (ulimit -n, LimitNOFILE)",
}
LOOK = "check that disk or store"


def opened(path: Any, mode: str) -> Any:
    """Open a file as `rb` or `wb`; a written file is readable by its owner only."""
    with translating(path, _doing(mode)):
        if mode != "rb":
            _make_private(path)
        return StoredFile(path.open(mode), path, _doing(mode))


@contextlib.contextmanager
def writing(path: Any) -> Iterator[BinaryIO]:
    """A file to write; it is deleted if the block fails or the file can't be stored whole."""
    file = opened(path, "wb")  # outside the try: a file that can't be opened is not deleted
    try:
        with file:
            yield file
    except BaseException:
        discard(path)
        raise


@contextlib.contextmanager
def replacing(path: Any) -> Iterator[BinaryIO]:
    """A file to write, which replaces another in one step when it is complete.

    On an object store every write does this.
    """
    place = _local(path)
    if place is None or not (place.is_file() or not place.exists()):  # a device can't be renamed
        with writing(path) as file:
            yield file
        return
    fresh = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with writing(fresh) as file:
            yield file
        with translating(path, "written"):
            fresh.replace(place)
    except BaseException:
        discard(fresh)
        raise


def write_text(path: Any, text: str) -> None:
    """Write a text as UTF-8, completely or not at all."""
    with replacing(path) as file:
        file.write(text.encode())


def read_text(path: Any) -> str:
    """Read a UTF-8 text."""
    with translating(path, "read"):
        return str(path.read_text(encoding="utf-8"))


def exists(path: Any) -> bool:
    """Whether the path exists."""
    with translating(path, "read"):
        return bool(path.exists())


def make_folder(folder: Any) -> None:
    """Create a folder and its missing parents, private to their owner.

    An existing folder keeps its mode: its owner chose it.
    """
    with translating(folder, "a folder to write into"):
        place = _local(folder)
        if place is None:
            folder.mkdir(parents=True, exist_ok=True)
            return
        missing = [each for each in (place, *place.parents) if not each.exists()]
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError):  # another task created it
                each.mkdir(FOLDER)
                each.chmod(FOLDER)
        place.mkdir(exist_ok=True)  # raises if a file has that name


def discard(path: Any) -> None:
    """Delete a file, or empty it if it can't be deleted."""
    try:
        path.unlink(missing_ok=True)
    except Exception:  # of any store: the caller's own error is the one to report
        empty(path)


def empty(path: Any) -> None:
    """Empty a file, if possible."""
    with contextlib.suppress(Exception):
        path.open("wb").close()


@contextlib.contextmanager
def scratch() -> Iterator[BinaryIO]:
    """A temporary file without a name, deleted at the end of the block."""
    where = "a file in the folder for temporary files (TMPDIR)"
    with translating(where, "written"):
        file = tempfile.TemporaryFile()  # noqa: SIM115  (StoredFile closes it)
    with StoredFile(file, where, "written") as stored:
        yield cast(BinaryIO, stored)


class StoredFile(io.BufferedIOBase):
    """An open file of any store, whose errors are StorageFailed."""

    def __init__(self, file: Any, where: Any, doing: str) -> None:
        self._file = file
        self._where = where
        self._doing = doing

    def read(self, size: int | None = -1, /) -> bytes:
        with self._translating():
            return bytes(self._file.read(-1 if size is None else size))

    def readinto(self, buffer: Any, /) -> int:
        with self._translating():
            return int(self._file.readinto(buffer))

    def write(self, data: Any, /) -> int:
        with self._translating():
            return int(self._file.write(data))

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with self._translating():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def flush(self) -> None:
        if not self.closed:
            with self._translating():
                self._file.flush()

    def close(self) -> None:
        if not self.closed:
            with self._translating():
                self._file.close()

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def readable(self) -> bool:
        return bool(self._file.readable())

    def writable(self) -> bool:
        return bool(self._file.writable())

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def _translating(self) -> contextlib.AbstractContextManager[None]:
        return translating(self._where, self._doing)


@contextlib.contextmanager
def translating(where: Any, doing: str) -> Iterator[None]:
    """Turn an error of a disk or an object store in the block into StorageFailed.

    A disk raises OSError; the library of an object store may raise any exception.
    """
    try:
        yield
    except SmsError:
        raise
    except OSError as error:
        raise as_storage_failed(error, where, doing) from error
    except Exception as error:
        if isinstance(where, str) or _local(where):
            raise
        raise StorageFailed(str(where), doing, type(error).__name__, LOOK, True) from error


def as_storage_failed(error: OSError, where: Any, doing: str) -> StorageFailed:
    """The StorageFailed for an OSError, with what to do about it."""
    place = where if isinstance(where, str) else str(error.filename or where)
    # An OSError without a number has a free text, which may hold data: its type is shown.
    why = os.strerror(error.errno) if error.errno else type(error).__name__
    advice = ADVICE.get(error.errno or 0, LOOK)
    kind = StorageGone if isinstance(error, FileNotFoundError) else StorageFailed
    return kind(place, doing, why, advice, error.errno not in LASTING)


def _make_private(path: Any) -> None:
    """Create the file, or restrict an existing one to its owner, before any byte is written."""
    place = _local(path)
    if place is None:  # an object store has no modes: its buckets have policies
        return
    file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE)
    try:
        status = os.fstat(file)
        if stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) != FILE:
            _take_from_others(file, status.st_uid)
    finally:
        os.close(file)


def _take_from_others(file: int, owner: int) -> None:
    try:
        os.fchmod(file, FILE)
    except OSError:
        if owner != os.geteuid():  # for our own file: the disk has no modes
            raise


def _local(path: Any) -> Path | None:
    """The local path; None for an object store."""
    if isinstance(path, os.PathLike):
        return Path(path)
    on_disk = getattr(path, "protocol", None) in ("", "file", "local")
    return Path(path.path) if on_disk else None


def _doing(mode: str) -> str:
    return "read" if mode == "rb" else "written"
