"""The clients' SFTP operations, with cuts of the connection."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh

from sms_sandbox import private
from sms_sandbox.knobs import Attribute, Verb, When
from sms_sandbox.provider import Provider

HIDES: dict[Attribute, tuple[str, ...]] = {
    "size": ("size",),
    "times": ("atime", "mtime", "crtime", "ctime"),
    "permissions": ("permissions",),
}


class FileSession(asyncssh.SFTPServer):
    """One client's SFTP session, limited to the home.

    A plain rename refuses to overwrite, a POSIX rename overwrites, as in OpenSSH. There are no
    links, and no directories except `Send` and `Report`.
    """

    def __init__(self, channel: asyncssh.SSHServerChannel[bytes], provider: Provider) -> None:
        super().__init__(channel, chroot=os.fsencode(provider.desk.place.home))
        self._provider = provider
        self._desk = provider.desk
        self._uploads: dict[object, Path] = {}
        self._is_cut = False

    async def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        local = self._local(path)
        if not pflags & (asyncssh.FXF_WRITE | asyncssh.FXF_APPEND):
            await self._begin("get", local)
            file = super().open(path, pflags, attrs)
            self._desk.note("get", name=self._desk.shown(local))
            return file
        await self._begin("put", local)
        self._provider.begin_upload(local)
        attrs.permissions = private.FILE
        try:
            file = super().open(path, pflags, attrs)
        except OSError:
            self._provider.end_upload(local)
            raise
        self._uploads[file] = local
        return file

    async def write(self, file_obj: Any, offset: int, data: bytes) -> Any:
        await self._begin("write", self._uploads[file_obj])
        written = super().write(file_obj, offset, data)
        self._end("write")
        return written

    async def close(self, file_obj: Any) -> None:
        super().close(file_obj)
        local = self._uploads.pop(file_obj, None)
        if local is None:
            return
        size = local.stat().st_size if local.exists() else None
        self._desk.note("put", name=self._desk.shown(local), size=size, whole=not self._is_cut)
        self._provider.end_upload(local)
        if not self._is_cut:
            self._end("put")

    async def rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._begin("rename", self._local(oldpath))
        super().rename(oldpath, newpath)
        self._renamed(oldpath, newpath)

    async def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        await self._begin("rename", self._local(oldpath))
        super().posix_rename(oldpath, newpath)
        self._renamed(oldpath, newpath)

    async def remove(self, path: bytes) -> None:
        await self._begin("remove", self._local(path))
        super().remove(path)
        self._desk.note("remove", name=self._desk.shown(self._local(path)))
        self._provider.stir()
        self._end("remove")

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        await self._begin("list", self._local(path))
        self._desk.note("listing", name=self._desk.shown(self._local(path)))
        # The library's own listing fails if a file is renamed meanwhile.
        for name in [b".", b"..", *os.listdir(os.fsencode(self._local(path)))]:
            with contextlib.suppress(FileNotFoundError):
                attrs = self._attributes(os.lstat(self._local(path + b"/" + name)))
                yield asyncssh.SFTPName(name, attrs=attrs)
        self._end("list")

    async def stat(self, path: bytes) -> Any:
        await self._begin("stat", self._local(path))
        attrs = self._attributes(super().stat(path))
        self._end("stat")
        return attrs

    def lstat(self, path: bytes) -> Any:
        return self._attributes(super().lstat(path))

    def fstat(self, file_obj: Any) -> Any:
        return self._attributes(super().fstat(file_obj))

    def format_longname(self, name: asyncssh.SFTPName) -> None:
        if self._desk.knobs.hidden:
            name.longname = name.filename
        else:
            super().format_longname(name)

    def _attributes(self, status: Any) -> asyncssh.SFTPAttrs:
        """A file's attributes, without those that the knob `hidden` hides."""
        attrs = asyncssh.SFTPAttrs.from_local(status)
        for hidden in self._desk.knobs.hidden:
            for name in HIDES[hidden]:
                setattr(attrs, name, None)
        return attrs

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPPermissionDenied("no links here")

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPPermissionDenied("no links here")

    def mkdir(self, path: bytes, attrs: asyncssh.SFTPAttrs) -> None:
        raise asyncssh.SFTPPermissionDenied("the directories are Send and Report")

    def rmdir(self, path: bytes) -> None:
        raise asyncssh.SFTPPermissionDenied("the directories are Send and Report")

    def _local(self, path: bytes) -> Path:
        return Path(os.fsdecode(self.map_path(path)))

    def _renamed(self, oldpath: bytes, newpath: bytes) -> None:
        names = {
            "from": self._desk.shown(self._local(oldpath)),
            "to": self._desk.shown(self._local(newpath)),
        }
        self._desk.note("rename", **names, by="client")
        self._provider.stir()
        self._end("rename")

    async def _begin(self, verb: Verb, path: Path) -> None:
        """Wait for the knob `latency`, or cut the connection before the operation."""
        if self._is_cut:  # a request that the client sent before it noticed
            raise asyncssh.SFTPConnectionLost("cut by a knob")
        latency = self._desk.knobs_for(path.stem).latency
        if latency:
            await asyncio.sleep(latency)
        self._break_if(verb, "before")

    def _end(self, verb: Verb) -> None:
        """Cut the connection after the operation, before the answer."""
        self._break_if(verb, "after")

    def _break_if(self, verb: Verb, when: When) -> None:
        if self._desk.panel.is_dropped(verb, when):
            self._is_cut = True
            self._desk.note("dropped", verb=verb, when=when)
            self.connection.abort()
            raise asyncssh.SFTPConnectionLost("cut by a knob")
