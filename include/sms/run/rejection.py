"""Likely causes of a rejected file, read from its bytes: the gateway gives no reason."""

import pyarrow.compute as pc

from sms import storage
from sms.columnar import parquet
from sms.errors import SUPPORT
from sms.ledger.records import Submission
from sms.message.rendering import DELIMITER
from sms.run import preparation
from sms.run.folder import RunFolder
from sms.settings import Settings
from sms.wire import inspection
from sms.words import count


def likely_causes(folder: RunFolder, submission: Submission, settings: Settings) -> tuple[str, ...]:
    """The likely causes of a rejection, a sentence each."""
    with storage.opened(folder.send_file(submission.stem), "rb") as source:
        faults = inspection.check(
            source, preparation.dialect(settings), preparation.rules(settings)
        )
    found = [f"line {fault.line}: {fault.sentence}" for fault in faults[:3]]
    quoted = sum(
        pc.sum(pc.match_substring_regex(batch["msg"], DELIMITER.pattern), min_count=0).as_py()
        for batch in parquet.batches(folder.messages(submission.stem), ["msg"])
    )
    if quoted:
        found.append(
            f"{count(quoted, 'text')} in quotes, for a semicolon, a quote or a line break: "
            "if the provider does not support quotes, set delimiter_in_text: replace"
        )
    if settings.encoding != "utf-8":
        found.append(f"the file is in {settings.encoding}: is that what you agreed on?")
    if (submission.segments or 0) > (submission.messages or 0):
        found.append("some texts take several SMS: is that switched on for your account?")
    if settings.unicode:
        found.append("texts may hold Unicode: is that switched on for your account?")
    if not faults:
        found.append(f"our own check finds no fault in the file: ask {SUPPORT}")
    return tuple(found)
