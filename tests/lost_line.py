"""A line that breaks at one step of a client's: the server really did it, or really did not.

For a server that can't be told to hang up. The client is this process, by paramiko or asyncssh; it
finds the line dead by itself, and says so in its own way.
"""

import itertools
from collections.abc import Callable
from typing import Any, Literal

import asyncssh
import paramiko
import pytest

Verb = Literal["put", "write", "rename", "remove", "list", "get"]
When = Literal["before", "after"]

STEPS: dict[Verb, list[tuple[type, str]]] = {
    "put": [(paramiko.SFTPClient, "file")],
    "write": [(paramiko.SFTPFile, "write")],
    "rename": [(paramiko.SFTPClient, "rename"), (paramiko.SFTPClient, "posix_rename")],
    "remove": [(paramiko.SFTPClient, "remove")],
    "get": [(paramiko.SFTPClient, "getfo")],
    "list": [(paramiko.SFTPClient, "listdir_attr"), (asyncssh.SFTPClient, "scandir")],
}


def break_line(
    breaks: pytest.MonkeyPatch, cut: Callable[[], None], verb: Verb, when: When, nth: int
) -> None:
    """Have the line cut at the n-th `verb` from now, before it is asked for or after it is done."""
    times = itertools.count(1)
    for kind, step in STEPS[verb]:
        breaks.setattr(kind, step, _breaking(getattr(kind, step), times, cut, when, nth))


def _breaking(
    step: Callable[..., Any],
    times: "itertools.count[int]",
    cut: Callable[[], None],
    when: When,
    nth: int,
) -> Callable[..., Any]:
    def breaking(*args: Any, **options: Any) -> Any:
        if next(times) == nth:
            if when == "after":
                step(*args, **options)  # and its answer gets lost
            cut()
        return step(*args, **options)

    return breaking
