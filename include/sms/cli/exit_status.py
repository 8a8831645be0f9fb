"""How a command ends: an exit status, and one sentence on standard error if it failed.

What belongs here: whatever a command may raise, and streams that can't be written. What doesn't:
the commands.
"""

import io
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

from sms import storage
from sms.cli.options import complain
from sms.errors import SmsError

FAILED = 1


def of(command: Callable[[], object]) -> int:
    """Run a command; what it raises ends in a sentence, not in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every terminal has every letter
    status = 0
    try:
        command()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED if end.code else 0
    except Exception as error:
        status = FAILED
        _complain(str(_in_our_words(error)))
    return status if _written(sys.stdout) and _written(sys.stderr) else status or FAILED


def _in_our_words(error: Exception) -> SmsError | str:
    """What a person can read; a library's message may quote the value that it could not take."""
    if isinstance(error, SmsError):
        return error
    if isinstance(error, OSError):
        return storage.as_storage_failed(error, "standard output, a file or a connection", "used")
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return (
        f"the command failed by an unforeseen {type(error).__name__} in "
        f"{frame.f_globals.get('__name__')}, line {line}. Its words may quote somebody's data and "
        "are withheld. Please report it with this place, and what you called"
    )


def _written(stream: TextIO | None) -> bool:
    """Whether all that was printed got out; what did not is dropped, or Python would try again."""
    if stream is None:  # it was closed before we began
        return True
    try:
        stream.flush()
    except (OSError, ValueError):
        _complain("standard output can't be written: some of what the command says is lost")
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        return False
    return True


def _complain(sentence: str) -> None:
    with suppress(OSError):  # of standard error nobody can be told
        complain.print(sentence, markup=False)
