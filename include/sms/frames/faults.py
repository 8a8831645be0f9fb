"""`sms.check_file`: what is wrong with a file for the gateway."""

from pathlib import Path

import pandas as pd

from sms import storage
from sms.frames import columns, request
from sms.run import preparation
from sms.settings import Settings
from sms.wire import inspection
from sms.wire.inspection import FaultCode


def check_file(path: str | Path, *, settings: Settings | None = None) -> pd.DataFrame:
    """Every fault of a file by the provider's rules: its line, a code, and a sentence.

    Lines count from 1, as an editor counts. A file without a fault gives a frame without rows. What
    the account may send, and how its files are written, is the settings' to say.
    """
    chosen = request.chosen(settings)
    with storage.opened(Path(path), "rb") as source:
        found = inspection.check(source, preparation.dialect(chosen), preparation.rules(chosen))
    codes = columns.coded(
        pd.Series([str(each.code) for each in found], dtype="str"),
        [str(each) for each in FaultCode],
    )
    sentences = {str(each): each.sentence for each in FaultCode}
    return pd.DataFrame(
        {
            "line": pd.Series([each.line for each in found], dtype="int64[pyarrow]"),
            "code": codes,
            "sentence": columns.in_sentences(codes, sentences),
        }
    )
