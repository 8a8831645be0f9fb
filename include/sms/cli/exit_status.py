"""The end of a command: its exit status, and one sentence on standard error if it failed.

What belongs here: errors of commands, and streams that can't be written.
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
    """Run a command, and return its exit status; an error is printed as a sentence."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for terminals without some letters
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
    """The error's sentence; without a library's own message, which may quote data."""
    if isinstance(error, SmsError):
        return error
    if isinstance(error, OSError):
        return storage.as_storage_failed(error, "standard output, a file or a connection", "used")
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return (
        f"the command failed by an unexpected {type(error).__name__} in "
        f"{frame.f_globals.get('__name__')}, line {line}. Its message is withheld, as it may quote "
        "personal data. Please report it with this place, and the command"
    )


def _written(stream: TextIO | None) -> bool:
    """Whether all output was written; the rest is dropped, or Python would write it again."""
    if stream is None:  # closed before the start
        return True
    try:
        stream.flush()
    except (OSError, ValueError):
        _complain("standard output can't be written: a part of the output is lost")
        with suppress(OSError, ValueError):
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, stream.fileno())
            os.close(devnull)
        return False
    return True


def _complain(sentence: str) -> None:
    with suppress(OSError):  # standard error may fail too
        complain.print(sentence, markup=False)
