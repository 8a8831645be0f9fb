"""The interface to the gateway: two directories, and the operations of a session.

`sms_airflow` implements it over SFTP.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import BinaryIO, Protocol


class Folder(StrEnum):
    """The gateway's two directories (R10)."""

    SEND = "Send"
    REPORT = "Report"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file in a listing of the gateway; `modified_at` is None if the server gives no time.

    Without a time, only a comparison of bytes shows that a file is unchanged: an equal size is
    not enough.
    """

    name: str
    size: int
    modified_at: datetime | None


class Shows(Protocol):
    """A source of the gateway's listings: an open session, or stored listings."""

    def listing(self, folder: Folder) -> list[RemoteFile]:
        """All files of a directory."""


class Gateway(Shows, Protocol):
    """An open session at the gateway. Every method may raise a GatewayError."""

    def fetch(self, folder: Folder, name: str, into: BinaryIO) -> None:
        """Copy a file's bytes into an open file."""

    def upload(self, name: str, source: BinaryIO) -> int:
        """Write a file into `Send`; returns the size that the gateway then reports."""

    def rename(self, old: str, new: str, may_leave: Callable[[], None] | None = None) -> None:
        """Rename within `Send`, never onto an existing name.

        `may_leave` is called right before the request is sent. If it raises, no request is sent.
        """

    def remove(
        self, folder: Folder, name: str, may_leave: Callable[[], None] | None = None
    ) -> bool:
        """Delete a file, False if there was none; `may_leave` is called as in `rename`."""
