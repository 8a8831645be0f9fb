"""The gateway as the product sees it: two directories, and what a session there can do.

`sms_airflow` opens sessions over SFTP.
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
    """One file in a listing of the gateway; `modified_at` is None where the server tells none.

    Then only its bytes tell whether it is unchanged: a size alone does not.
    """

    name: str
    size: int
    modified_at: datetime | None


class Shows(Protocol):
    """What shows the gateway's directories: a session, or listings that were made before."""

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

        `may_leave` is asked right before the request leaves, and refuses by raising: then none did.
        """

    def remove(
        self, folder: Folder, name: str, may_leave: Callable[[], None] | None = None
    ) -> bool:
        """Delete a file, False if there was none; `may_leave` is asked as by `rename`."""
