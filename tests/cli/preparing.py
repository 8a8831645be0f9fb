"""`sms prepare`, called with files."""

import json
from pathlib import Path

from tests.command_line import sms

AT = "2027-03-02T10:00"


def prepared(
    campaign: Path, recipients: Path, stop_list: Path, out: Path, *more: object, run=sms
) -> dict:
    done = run(
        *("prepare", campaign, "--recipients", recipients, "--stop-list", stop_list),
        *("--at", AT, "--out", out, *more),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Traceback") == 0
    return json.loads((out / "summary.json").read_text())
