"""Small batches of text."""

import pyarrow as pa

from sms.columnar import parquet


def texts(**columns):
    return pa.record_batch({name: pa.array(v, parquet.TEXT) for name, v in columns.items()})
