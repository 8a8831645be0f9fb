"""A file to the gateway, as the task `submit` does it: `uploading FILE NAME`, timed inside.

The connection `sms_gateway` is in its environment.
"""

import sys
import time
from pathlib import Path

from sms_airflow import wiring


def main(source: str, name: str) -> None:
    """Print the seconds from connecting to the size that the gateway reports."""
    path = Path(source)
    begun = time.perf_counter()
    with path.open("rb") as file, wiring.gateway() as session:
        arrived = session.upload(name, file)
    print(time.perf_counter() - begun)
    if arrived != path.stat().st_size:
        raise SystemExit(f"{arrived} bytes arrived")


if __name__ == "__main__":
    main(*sys.argv[1:])
