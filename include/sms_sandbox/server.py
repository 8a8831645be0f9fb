"""The gateway as a server: keys, logins, and the assembly of all parts."""

import asyncio
import contextlib
import hmac
import ipaddress
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

import asyncssh

from sms_sandbox import clock, private
from sms_sandbox.account import Account
from sms_sandbox.desk import Desk, Place
from sms_sandbox.journal import Journal
from sms_sandbox.knobs import Knobs, Panel, When
from sms_sandbox.provider import Provider
from sms_sandbox.sftp import FileSession

MARKER = ".sandbox"  # in the home, with the clock's id: clients of a moved clock check it


class CannotStart(Exception):
    """A gateway that can't be set up as requested."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The setup of a gateway."""

    root: Path
    account: Account = field(default_factory=Account)
    knobs: Knobs = field(default_factory=Knobs)
    host: str = "127.0.0.1"
    port: int = 0  # 0: any free one
    host_key: Path | None = None  # default: DIR/host_key; generated if missing
    seed: int = 1
    start: datetime | None = None  # sandbox time at the very first start; default: now
    hurry: float | None = None  # sandbox seconds in a real one while an ACK is awaited
    jumps: bool = False  # whether the clock may be moved by hand

    @property
    def top_rate(self) -> float:
        """The highest rate of the clock."""
        return clock.ANY_RATE if self.jumps else max(self.hurry or 1.0, 1.0)


class Gateway:
    """A running gateway; all lasting data is under the plan's root."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.place = Place(plan.root.resolve())
        for folder in (self.place.send, self.place.report):
            private.make_folder(folder)
        self.face = clock.create(self.place.clock, start=plan.start, top_rate=plan.top_rate)
        private.write(self.place.home / MARKER, self.face.id)
        self.host_key = _key(plan.host_key or self.place.root / "host_key")
        private.write(self.place.root / "host_key.pub", _public_line(self.host_key) + "\n")
        self.client_key_path = self._client_key()
        panel = Panel(self.place.knobs, plan.knobs)
        journal = Journal(self.place.journal)
        self.desk = Desk(self.place, plan.account, panel, journal, plan.seed)
        self.provider = Provider(self.desk, hurry=plan.hurry)
        self.port = 0
        self._callers: set[asyncssh.SSHServerConnection] = set()

    @property
    def host_key_line(self) -> str:
        """The public host key as clients pin it: `ssh-ed25519 AAAA...`."""
        return _public_line(self.host_key)

    async def serve(self, is_ready: asyncio.Event | None = None) -> None:
        """Listen and work until cancelled."""
        await self.provider.recover()
        listener = await self._listen()
        self.port = listener.get_port()
        self._announce()
        if is_ready is not None:
            is_ready.set()
        try:
            await self.provider.run()
        finally:
            self._ready_file.unlink(missing_ok=True)
            listener.close()
            await self._hang_up()
            with contextlib.suppress(clock.ClockFixed):
                clock.set_rate(self.place.clock, 1.0)  # no process could slow it down later

    async def _hang_up(self) -> None:
        callers = list(self._callers)
        for caller in callers:
            caller.abort()
        await asyncio.gather(*(caller.wait_closed() for caller in callers))
        await asyncio.sleep(0)  # sockets close in the loop's next round

    def close(self) -> None:
        """Close the files."""
        self.desk.journal.close()

    @property
    def _ready_file(self) -> Path:
        return self.place.root / "ready.json"

    def _client_key(self) -> Path | None:
        """A generated key for the client, if the account names no login."""
        account = self.plan.account
        if account.authorized_key is not None or account.password is not None:
            return None
        path = self.place.root / "client_key"
        private.write(path.with_suffix(".pub"), _public_line(_key(path)) + "\n")
        return path

    def _authorized_keys(self) -> list[asyncssh.SSHKey]:
        if self.client_key_path is not None:
            return [asyncssh.read_public_key(self.client_key_path.with_suffix(".pub"))]
        given = self.plan.account.authorized_key
        try:
            return [] if given is None else list(asyncssh.read_public_key_list(given))
        except (OSError, asyncssh.KeyImportError) as error:
            raise CannotStart(f"can't read public keys in {given}: {error}") from error

    async def _listen(self) -> asyncssh.SSHAcceptor:
        try:
            return await asyncssh.create_server(
                partial(Door, self.desk, self._authorized_keys(), self._callers),
                self.plan.host,
                self.plan.port,
                server_host_keys=[self.host_key],
                sftp_factory=lambda channel: FileSession(channel, self.provider),
                reuse_address=True,
            )
        except OSError as error:
            raise CannotStart(
                f"can't listen on {self.plan.host}, port {self.plan.port}: {error.strerror}"
            ) from error

    def _announce(self) -> None:
        facts = {
            "host": self.plan.host,
            "port": self.port,
            "user": self.plan.account.user,
            "service_id": self.plan.account.service_id,
            "host_key": self.host_key_line,
            "client_key": str(self.client_key_path) if self.client_key_path else None,
            "clock": str(self.place.clock),
            "clock_id": self.face.id,
            "journal": str(self.place.journal),
            "pid": os.getpid(),
        }
        fresh = self._ready_file.with_suffix(".part")
        private.write(fresh, json.dumps(facts, indent=1))
        fresh.replace(self._ready_file)


class Door(asyncssh.SSHServer):
    """Accepts logins by the account and its addresses; refused ones go to the journal."""

    def __init__(
        self,
        desk: Desk,
        authorized: list[asyncssh.SSHKey],
        callers: set[asyncssh.SSHServerConnection],
    ) -> None:
        self._desk = desk
        self._authorized = authorized
        self._callers = callers
        self._address = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._callers.add(conn)
        self._address = conn.get_extra_info("peername")[0]
        if not self._is_allowed():
            self._desk.note("refused_address", address=self._address)
            conn.abort()
            return
        self._desk.note("connection", address=self._address)
        self._break_if("before")

    def connection_lost(self, exc: Exception | None) -> None:
        self._callers.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return bool(self._authorized)

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return self._judge(username, "key", key in self._authorized)

    def password_auth_supported(self) -> bool:
        return self._desk.account.password is not None

    def validate_password(self, username: str, password: str) -> bool:
        expected = self._desk.account.password or ""
        is_right = hmac.compare_digest(password.encode(), expected.encode())
        return self._judge(username, "password", bool(expected) and is_right)

    def auth_completed(self) -> None:
        self._desk.note("login", address=self._address)
        self._break_if("after")

    def _is_allowed(self) -> bool:
        address = ipaddress.ip_address(self._address)
        return any(address in ipaddress.ip_network(net) for net in self._desk.account.allow)

    def _judge(self, username: str, by: str, is_right: bool) -> bool:
        is_in = (
            is_right and username == self._desk.account.user and not self._desk.knobs.refuse_logins
        )
        if not is_in:
            self._desk.note("refused_login", user=username, by=by, address=self._address)
        return is_in

    def _break_if(self, when: When) -> None:
        if self._desk.panel.is_dropped("login", when):
            self._desk.note("dropped", verb="login", when=when)
            self._connection.abort()


def _key(path: Path) -> asyncssh.SSHKey:
    """The private key in a file, generated if missing."""
    if not path.exists():
        private.make_folder(path.parent)
        private.write(path, "")
        asyncssh.generate_private_key("ssh-ed25519", comment="sms_sandbox").write_private_key(path)
    return asyncssh.read_private_key(path)


def _public_line(key: asyncssh.SSHKey) -> str:
    kind, data = key.export_public_key().decode().split()[:2]
    return f"{kind} {data}"
