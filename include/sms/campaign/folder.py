"""Safe reading of a campaign's folder: which files may be read, and how much of them.

One process reads all folders. A pipe, a device or a gigabyte in one folder would block the others,
and a link could point to any file of the machine. The content is checked elsewhere.
"""

import os
import stat
from contextlib import ExitStack
from pathlib import Path

from sms.words import shown

KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a link",
}
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class Refused(Exception):
    """A file or folder that is not read; the message is the reason."""


def is_folder(path: Path) -> bool:
    """Whether a directory's entry is a folder or a link to one. Raises OSError, Refused."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except FileNotFoundError:
        if path.is_symlink():
            raise Refused("is a link to nothing: correct it, or remove it") from None
        return False  # removed since the directory was listed


def home(folder: Path) -> str:
    """The real path of a folder. Raises OSError, and Refused for a link out of its parent."""
    parent, real = (os.path.realpath(path, strict=True) for path in (folder.parent, folder))
    if not _is_below(real, parent):
        raise Refused(f"is a link out of {shown(parent)}: put the folder itself there")
    return real


def read(home: str, name: str, most: int) -> bytes:
    """Read a file of the folder whose real path is `home`. Raises OSError, Refused."""
    path = os.path.realpath(os.path.join(home, name), strict=True)
    if not _is_below(path, home):
        raise Refused("is a link out of the campaign's folder: put the file itself there")
    with ExitStack() as opened:
        # Each step opens one folder, so that a link created meanwhile is not followed.
        at = None
        *parents, last = os.path.relpath(path, home).split(os.sep)
        for step in (home, *parents):
            at = os.open(step, DIRECTORY, dir_fd=at)
            opened.callback(os.close, at)
        # Checked before it is opened: opening a device may have effects.
        _require_regular(os.stat(last, dir_fd=at, follow_symlinks=False))
        file = opened.enter_context(open(os.open(last, FILE, dir_fd=at), "rb"))
        _require_regular(os.fstat(file.fileno()))
        content = file.read(most + 1)
    if len(content) > most:
        raise Refused(f"is larger than {most // 1024} KiB: shorten it")
    return content


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath((path, folder)) == folder


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "a device")
        raise Refused(f"is {kind}, and no file: put a file there")
