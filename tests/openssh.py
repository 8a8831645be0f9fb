"""A plain OpenSSH server with two directories, and a small script that plays the provider."""

import json
import os
import pwd
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncssh

from demo.processes import wait_until

CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
HostKey "{folder}/host_key"
PidFile none
AuthorizedKeysFile "{folder}/authorized_keys"
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
Subsystem sftp internal-sftp -d {home}
ForceCommand internal-sftp -d {home}
"""


def sshd() -> str | None:
    """The server's program, which must be called by its whole path."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


class OpenSsh:
    """The server for a `with` block; whatever arrives in `Send` is taken at once and accepted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.send = self.home / "Send"
        self.report = self.home / "Report"

    def __enter__(self) -> Self:
        for directory in (self.send, self.report):
            directory.mkdir(parents=True)
        self._keys()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        configuration = self.folder / "sshd_config"
        configuration.write_text(
            CONFIGURATION.format(port=self.port, folder=self.folder, home=self.home)
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # OpenSSH's own, of its service
        program = sshd()
        assert program
        self._log = (self.folder / "sshd.log").open("wb")
        self._server = subprocess.Popen(
            [program, "-D", "-e", "-f", str(configuration)], stderr=self._log
        )
        wait_until(self._listens, "sshd", timeout=10)
        self._closing = threading.Event()
        self._provider = threading.Thread(target=self._play)
        self._provider.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._provider.join()
        self._server.terminate()
        self._server.wait()
        self._log.close()

    def connection(self) -> str:
        """The Airflow connection `sms_gateway` that leads here."""
        return json.dumps(
            {
                "conn_type": "sftp",
                "host": "127.0.0.1",
                "port": self.port,
                "login": pwd.getpwuid(os.geteuid()).pw_name,
                "extra": {
                    "service_id": "54321",
                    "key_file": str(self.folder / "client_key"),
                    "host_key": self._host_key,
                },
            }
        )

    def _keys(self) -> None:
        client = asyncssh.generate_private_key("ssh-ed25519")
        host = asyncssh.generate_private_key("ssh-ed25519")
        for name, key in (("client_key", client), ("host_key", host)):
            (self.folder / name).touch(mode=0o600)
            key.write_private_key(self.folder / name)
        client.write_public_key(self.folder / "authorized_keys")
        self._host_key = host.export_public_key().decode().strip()

    def _listens(self) -> bool:
        assert self._server.poll() is None, (self.folder / "sshd.log").read_text()
        with socket.socket() as door:
            return door.connect_ex(("127.0.0.1", self.port)) == 0

    def _play(self) -> None:
        while not self._closing.wait(0.05):
            for file in self.send.glob("*.csv"):
                file.rename(file.with_suffix(".lock")).rename(file.with_suffix(".done"))
