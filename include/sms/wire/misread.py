"""What a text may have been before its accents were lost, written out or read in a wrong encoding.

What belongs here: the readings that are worth a second look. What they say is `stop_words`'.
"""

import html
import quopri
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

# What is left of a letter with an accent: one or two signs that are not ASCII (the provider's own
# page shows `Ă©` for é), or a question mark within a word. Small letters of French are no remains.
_BROKEN = re.compile(
    r"(?![àâäçîïôöùûüœæ’]+(?![^\x00-\x7f]))[^\x00-\x7f]+"
    r"|(?<=[A-Za-z])\?+|(?<![\w?])\?+(?=[A-Za-z])"
)
_CODE_POINT = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2}))")


def readings(text: str) -> Iterator[str]:
    """The text as it stands, then whatever else it may mean."""
    yield text
    if not text.isascii() or "?" in text:
        # Of the letters with an accent in words of R35, all are an e.
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
