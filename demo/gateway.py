"""The sandbox gateway as a process: its keys, its command, its journal and its clock."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import asyncssh

from demo import environment
from sms.clock import SandboxClock

USER = "campaigns"
SERVICE_ID = "12345"
SEED = 20260728


@dataclass(frozen=True, slots=True)
class Gateway:
    """One sandbox: its root folder, and its keys."""

    root: Path
    key: Path
    host_key: str

    @classmethod
    def prepare(cls, folder: Path) -> Self:
        """Create the folder and both key pairs."""
        root = folder / "gateway"
        root.mkdir(0o700)
        client = asyncssh.generate_private_key("ssh-ed25519")
        host = asyncssh.generate_private_key("ssh-ed25519")
        for name, key in (("client_key", client), ("host_key", host)):
            file = folder / name
            file.touch(mode=0o600)
            key.write_private_key(file)
            key.write_public_key(file.with_suffix(".pub"))
        return cls(root, folder / "client_key", host.export_public_key().decode().strip())

    def command(
        self, *, hurry: float | None, clock: datetime | None, flags: Sequence[str]
    ) -> list[str]:
        """The command that starts it."""
        command = [sys.executable, "-m", "sms_sandbox", "--root", str(self.root)]
        # After a restart the port stays, as the Connection has it.
        port = self.port if self.is_ready() else 0
        command += ["--host", "127.0.0.1", "--port", str(port), "--user", USER]
        command += ["--authorized-key", str(self.key.with_suffix(".pub"))]
        command += ["--host-key", str(self.key.with_name("host_key"))]
        command += ["--service-id", SERVICE_ID, "--seed", str(SEED)]
        if hurry is not None:
            command += ["--hurry", str(hurry)]
        if clock is not None:
            command += ["--start", clock.isoformat()]
        return [*command, *flags]

    def is_ready(self) -> bool:
        """True once it listens."""
        return (self.root / "ready.json").exists()

    @property
    def port(self) -> int:
        """Its port on 127.0.0.1."""
        return int(json.loads((self.root / "ready.json").read_text())["port"])

    @property
    def clock_file(self) -> Path:
        """The shared clock; processes use it by the variable SMS_SANDBOX_CLOCK."""
        return self.root / "clock.json"

    @property
    def clock(self) -> SandboxClock:
        """The shared clock, to read."""
        return SandboxClock(self.clock_file)

    def hold_time(self, hold: bool) -> None:
        """Stop the sandbox from skipping days, for example while a campaign is being sent."""
        file = self.root / "hold"
        if hold:
            file.touch()
        else:
            file.unlink(missing_ok=True)

    def connection(self) -> str:
        """The Connection `sms_gateway` to this sandbox."""
        return environment.gateway_connection(
            port=self.port,
            user=USER,
            key=self.key,
            host_key=self.host_key,
            service_id=SERVICE_ID,
        )

    def journal(self) -> list[dict[str, Any]]:
        """All events of the sandbox, oldest first, without an unfinished line."""
        file = self.root / "journal.jsonl"
        lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
        return [json.loads(line) for line in lines]
