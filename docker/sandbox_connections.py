"""Make the sandbox's keys once, and print the two connections to the sandbox as JSON.

Airflow's database stores them, not the environment: a connection can't read its pinned host key
from a file, and the key is made when the stack first starts.
"""

import json
import os
import sys
from pathlib import Path

import asyncssh
from sqlalchemy.engine import URL, make_url

SERVICE_ID = "12345"  # the same as in the sandbox's command in docker-compose.yaml


def make_key_pair(file: Path) -> None:
    """Write a private key to `file` and its public key to `file`.pub, unless they exist."""
    if not file.exists():
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"sms sandbox {file.name}")
        key.write_public_key(f"{file}.pub")
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        key.write_private_key(fresh)
        fresh.replace(file)  # last: a run that was interrupted before this step starts over


def gateway(keys: Path, host: str, port: int) -> dict[str, object]:
    """The connection `sms_gateway`, with the sandbox's host key pinned."""
    make_key_pair(keys / "host")
    make_key_pair(keys / "client")
    algorithm, key = (keys / "host.pub").read_text().split()[:2]
    return {
        "conn_type": "sftp",
        "host": host,
        "port": port,
        "login": "sms",
        "extra": {
            "service_id": SERVICE_ID,
            "send_dir": "Send",
            "report_dir": "Report",
            "host_key": f"{algorithm} {key}",
            "private_key": (keys / "client").read_text(),
        },
    }


def warehouse(url: URL) -> dict[str, object]:
    """The connection `sms_warehouse`, to the sample warehouse."""
    return {
        "conn_type": "postgres",
        "host": url.host,
        "port": url.port,
        "login": url.username,
        "password": url.password,
        "schema": url.database,
    }


if __name__ == "__main__":
    host, _, port = os.environ["SMS_SANDBOX_ADDRESS"].rpartition(":")
    connections = {
        "sms_gateway": gateway(Path(os.environ["SMS_SANDBOX_KEYS"]), host, int(port)),
        "sms_warehouse": warehouse(make_url(os.environ["SMS_SAMPLE_WAREHOUSE_URL"])),
    }
    json.dump(connections, sys.stdout)
