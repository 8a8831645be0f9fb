"""The product for pandas: frames in, frames out, and drawings for a notebook."""

from sms.frames.calendar import slots
from sms.frames.faults import check_file
from sms.frames.prepared import Prepared, prepare
from sms.frames.screened import Screened, screen

__all__ = ["Prepared", "Screened", "check_file", "prepare", "screen", "slots"]
