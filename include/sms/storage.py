"""The files that we write about people: for their owner's eyes, whole, and failing in a sentence.

Every file and folder of a run, of the archive and of the command line is opened, made and removed
here, through any path object with pathlib's verbs. What is in them is their writers' business.
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


FILE, FOLDER = 0o600, 0o700  # whatever the umask says

# What these say stays so until a person does something.
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
LOOK = "see what is wrong with that disk or store"


def opened(path: Any, mode: str) -> Any:
    """A file, `rb` or `wb`; one that is written is readable by its owner alone."""
    with told(path, _doing(mode)):
        if mode != "rb":
            _make_private(path)
        return StoredFile(path.open(mode), path, _doing(mode))


@contextlib.contextmanager
def writing(path: Any) -> Iterator[BinaryIO]:
    """A file to write; it is removed unless the block ends well and all of it is stored."""
    file = opened(path, "wb")  # what may not even be opened is left as it is
    try:
        with file:
            yield file
    except BaseException:
        discard(path)
        raise


@contextlib.contextmanager
def replacing(path: Any) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of another in an instant once it is whole.

    On an object store every file does.
    """
    place = _local(path)
    if place is None or not (place.is_file() or not place.exists()):  # a device takes no name
        with writing(path) as file:
            yield file
        return
    fresh = place.with_name(f"{place.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with writing(fresh) as file:
            yield file
        with told(path, "written"):
            fresh.replace(place)
    except BaseException:
        discard(fresh)
        raise


def write_text(path: Any, text: str) -> None:
    """Write a text as UTF-8, all of it or nothing."""
    with replacing(path) as file:
        file.write(text.encode())


def read_text(path: Any) -> str:
    """Read a text of UTF-8."""
    with told(path, "read"):
        return str(path.read_text(encoding="utf-8"))


def exists(path: Any) -> bool:
    """Whether something is there."""
    with told(path, "read"):
        return bool(path.exists())


def make_folder(folder: Any) -> None:
    """Make a folder, and those above it that are missing, for their owner alone.

    One that is there already keeps its mode: somebody chose it.
    """
    with told(folder, "a folder to write into"):
        place = _local(folder)
        if place is None:
            folder.mkdir(parents=True, exist_ok=True)
            return
        missing = [each for each in (place, *place.parents) if not each.exists()]
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError):  # made by another task meanwhile
                each.mkdir(FOLDER)
                each.chmod(FOLDER)
        place.mkdir(exist_ok=True)  # which refuses a file of that name


def discard(path: Any) -> None:
    """Leave nothing of a file: where its name must stay, no byte of it."""
    try:
        path.unlink(missing_ok=True)
    except Exception:  # whatever the store raises, what went wrong before is to be told
        empty(path)


def empty(path: Any) -> None:
    """Leave a file's name alone, if that can be done."""
    with contextlib.suppress(Exception):
        path.open("wb").close()


@contextlib.contextmanager
def scratch() -> Iterator[BinaryIO]:
    """A file without a name, gone at the block's end."""
    where = "a file in the folder for temporary files (TMPDIR)"
    with told(where, "written"):
        file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by ours, which tells of it)
    with StoredFile(file, where, "written") as ours:
        yield cast(BinaryIO, ours)


class StoredFile(io.BufferedIOBase):
    """An open file of any store, whose failures are told in our words."""

    def __init__(self, file: Any, where: Any, doing: str) -> None:
        self._file = file
        self._where = where
        self._doing = doing

    def read(self, size: int | None = -1, /) -> bytes:
        with self._told():
            return bytes(self._file.read(-1 if size is None else size))

    def readinto(self, buffer: Any, /) -> int:
        with self._told():
            return int(self._file.readinto(buffer))

    def write(self, data: Any, /) -> int:
        with self._told():
            return int(self._file.write(data))

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        with self._told():
            return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def flush(self) -> None:
        if not self.closed:
            with self._told():
                self._file.flush()

    def close(self) -> None:
        if not self.closed:
            with self._told():
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

    def _told(self) -> contextlib.AbstractContextManager[None]:
        return told(self._where, self._doing)


@contextlib.contextmanager
def told(where: Any, doing: str) -> Iterator[None]:
    """Turn what a disk or a store raises in the block into a sentence.

    A disk raises OSError; the library of an object store may raise whatever it likes.
    """
    try:
        yield
    except SmsError:
        raise
    except OSError as error:
        raise in_our_words(error, where, doing) from error
    except Exception as error:
        if isinstance(where, str) or _local(where):
            raise
        raise StorageFailed(str(where), doing, type(error).__name__, LOOK, True) from error


def in_our_words(error: OSError, where: Any, doing: str) -> StorageFailed:
    """What went wrong there, and what to do about it."""
    place = where if isinstance(where, str) else str(error.filename or where)
    # Whoever raised one without a number wrote its text, too.
    why = os.strerror(error.errno) if error.errno else type(error).__name__
    advice = ADVICE.get(error.errno or 0, LOOK)
    kind = StorageGone if isinstance(error, FileNotFoundError) else StorageFailed
    return kind(place, doing, why, advice, error.errno not in LASTING)


def _make_private(path: Any) -> None:
    """See that a file is there, and its owner's alone, before a byte is in it."""
    place = _local(path)
    if place is None:  # an object store has no modes: its buckets have policies
        return
    file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE)
    try:
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) != FILE:
            _take_from_others(file, found.st_uid)
    finally:
        os.close(file)


def _take_from_others(file: int, owner: int) -> None:
    try:
        os.fchmod(file, FILE)
    except OSError:
        if owner != os.geteuid():  # of ours, the disk knows no modes
            raise


def _local(path: Any) -> Path | None:
    """Where a path leads on this machine's disks; None for an object store."""
    if isinstance(path, os.PathLike):
        return Path(path)
    on_disk = getattr(path, "protocol", None) in ("", "file", "local")
    return Path(path.path) if on_disk else None


def _doing(mode: str) -> str:
    return "read" if mode == "rb" else "written"
