"""The size of a file at a server that tells none: found by reading a few bytes here and there."""

from collections.abc import Generator
from typing import TypeAlias

import asyncssh
import paramiko

PIECE = 32_000  # bytes of one read, which every server takes
# Asks for bytes (at an offset, so many), is sent how many there were, and returns the size.
Search: TypeAlias = Generator[tuple[int, int], int, int]


def search() -> Search:
    """Go on by doubled steps until nothing is there, then halve what lies between.

    A server may answer with fewer bytes than were asked for; none are the end alone.
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
    """A file's size, by its bytes."""
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
    """The same over asyncssh."""
    steps = search()
    async with client.open(path, "rb") as file:
        offset, length = next(steps)
        while True:
            found = await file.read(length, offset)
            try:
                offset, length = steps.send(len(found))
            except StopIteration as end:
                return int(end.value)
