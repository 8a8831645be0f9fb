"""The size of a file at a server that gives none, found by a few short reads."""

from collections.abc import Generator
from typing import TypeAlias

import asyncssh
import paramiko

PIECE = 32_000  # bytes of one read, which every server accepts
# Yields a read (offset, length), is sent the number of bytes read, and returns the file's size.
Search: TypeAlias = Generator[tuple[int, int], int, int]


def search() -> Search:
    """Double the offset until a read is empty, then halve the interval.

    A server may return fewer bytes than requested; only an empty read means the end.
    """
    low, span = 0, 0
    while found := (yield low + span, PIECE):
        low, span = low + span + found, 2 * span + PIECE if low else 0
    high = low + span
    while low < high:
        middle = (low + high) // 2
        if found := (yield middle, PIECE):
            low = middle + found
        else:
            high = middle
    return low


def measured(client: paramiko.SFTPClient, path: str) -> int:
    """A file's size, found over paramiko."""
    steps = search()
    with client.open(path, "rb") as file:
        offset, length = next(steps)
        while True:
            file.seek(offset)
            try:
                offset, length = steps.send(len(file.read(length)))
            except StopIteration as end:
                return int(end.value)


async def measured_by(client: asyncssh.SFTPClient, path: bytes) -> int:
    """A file's size, found over asyncssh."""
    steps = search()
    async with client.open(path, "rb") as file:
        offset, length = next(steps)
        while True:
            found = await file.read(length, offset)
            try:
                offset, length = steps.send(len(found))
            except StopIteration as end:
                return int(end.value)
