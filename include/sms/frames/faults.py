"""`sms.check_file`: the faults of a file for the gateway."""

from pathlib import Path

import pandas as pd

from sms import storage
from sms.frames import columns, request
from sms.run import preparation
from sms.settings import Settings
from sms.wire import inspection
from sms.wire.inspection import FaultCode


def check_file(path: str | Path, *, settings: Settings | None = None) -> pd.DataFrame:
    """All faults of a file by the provider's rules: line, code and sentence.

    Lines count from 1, as in an editor. A file without faults gives an empty frame. The settings
    have the limits of the account and the format of its files.
    """
    chosen = request.chosen(settings)
    with storage.opened(Path(path), "rb") as source:
        faults = inspection.check(source, preparation.dialect(chosen), preparation.rules(chosen))
    codes = columns.coded(
        pd.Series([str(each.code) for each in faults], dtype="str"),
        [str(each) for each in FaultCode],
    )
    sentences = {str(each): each.sentence for each in FaultCode}
    return pd.DataFrame(
        {
            "line": pd.Series([each.line for each in faults], dtype="int64[pyarrow]"),
            "code": codes,
            "sentence": columns.in_sentences(codes, sentences),
        }
    )
