"""Possible originals of a text with damaged accents or a wrong encoding.

This module yields the readings; `stop_words` decides what they mean.
"""

import html
import quopri
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

# The remains of an accented letter: one or two non-ASCII characters (the provider's own page shows
# `Ă©` for é), or a question mark inside a word. French small letters are not remains.
_BROKEN = re.compile(
    r"(?![àâäçîïôöùûüœæ’]+(?![^\x00-\x7f]))[^\x00-\x7f]+"
    r"|(?<=[A-Za-z])\?+|(?<![\w?])\?+(?=[A-Za-z])"
)
_CODE_POINT = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")


def readings(text: str) -> Iterator[str]:
    """Yield the text itself, then its other possible readings."""
    yield text
    if not text.isascii() or "?" in text:
        # Every accented letter in the words of R35 is an e.
        yield _BROKEN.sub("e", text)
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield _decoded(unquote_to_bytes(text))
    if "=" in text:
        yield _decoded(quopri.decodestring(text.encode()))
    if "+A" in text:
        yield text.encode("ascii", "ignore").decode("utf-7", "ignore")
    if "\\" in text:
        yield _CODE_POINT.sub(lambda match: chr(int(match[1] or match[2], 16)), text)


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
