"""A delivery report read whole, where the product reads it as a stream."""

from typing import BinaryIO

import pyarrow as pa

from sms.wire.reports import DELIVERIES, Deliveries, Report


def read_delivery_report(source: BinaryIO) -> Report:
    """The rows of an ACK (`DELIVERIES`), in the file's order. Raises ReportUnreadable."""
    deliveries = Deliveries(source)
    rows = pa.Table.from_batches(deliveries, DELIVERIES)
    return deliveries.report(rows)
