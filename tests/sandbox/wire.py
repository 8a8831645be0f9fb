"""What the sandbox's tests send, and how they log in."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from sms_sandbox import Sandbox

STEM = "SEND-12345-20260715-1000-spring"


def row(number: int, *, msg: str = "Bonjour, vos soldes commencent. STOP au 36000") -> str:
    """A compliant row with the n-th number of the range kept for fiction."""
    return f"id{number:05d};+336399{80000 + number:05d};Boutique;{msg}\r\n"


def rows(count: int) -> bytes:
    """So many compliant rows."""
    return "".join(row(number) for number in range(count)).encode()


@contextmanager
def log_in(gateway: Sandbox, *, password: str | None = None) -> Iterator[paramiko.SFTPClient]:
    """An SFTP session that accepts only the gateway's pinned host key."""
    with paramiko.SSHClient() as ssh:
        kind, data = gateway.host_key.split()
        pinned = paramiko.Ed25519Key(data=base64.b64decode(data))
        ssh.get_host_keys().add(f"[{gateway.host}]:{gateway.port}", kind, pinned)
        key = str(gateway.client_key_path) if gateway.client_key_path and not password else None
        ssh.connect(
            gateway.host,
            gateway.port,
            gateway.user,
            password,
            key_filename=key,
            look_for_keys=False,
            allow_agent=False,
            timeout=60,
        )
        yield ssh.open_sftp()


def put(client: paramiko.SFTPClient, name: str, content: bytes) -> None:
    """Upload under a name in Send."""
    client.putfo(io.BytesIO(content), f"Send/{name}")


def submit(client: paramiko.SFTPClient, content: bytes, stem: str = STEM) -> None:
    """Upload as the page says: .tmp, then rename to .csv."""
    put(client, f"{stem}.tmp", content)
    client.rename(f"Send/{stem}.tmp", f"Send/{stem}.csv")


def read(client: paramiko.SFTPClient, kind: str, stem: str = STEM) -> bytes:
    """A report as it is now."""
    with client.open(f"Report/{stem.replace('SEND', kind)}.csv") as report:
        return report.read()
