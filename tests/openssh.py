"""A plain OpenSSH server, and behind it a small script that plays the provider."""

import os
import pwd
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncssh
import psutil
import pytest

from demo.ports import free_port
from demo.processes import Guard, Processes, wait_until
from sms_sandbox import clock
from sms_sandbox.server import MARKER
from tests.airflow_home import ROOT
from tests.lost_line import Verb, When, break_line
from tests.provider import Provider

IS_ROOT = os.geteuid() == 0
# Every directory above a chroot must be root's and nobody else's to write, so not under /tmp; and
# internal-sftp takes its arguments apart at every space, so not where the tests happen to lie.
GROUNDS = "/run" if IS_ROOT else "/tmp"
CONFIGURATION = """\
ListenAddress 127.0.0.1
Port {port}
Port {read_only_port}
HostKey "{folder}/host_key"
PidFile none
LogLevel VERBOSE
AuthorizedKeysFile "{folder}/authorized_keys"
AuthenticationMethods publickey
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
MaxStartups 100
Subsystem sftp internal-sftp
ForceCommand internal-sftp -d {start}
"""
FULL = 100  # bytes
CHROOT = "ChrootDirectory {home}\n"
# Since 9.8 OpenSSH turns away, for a while, an address whose logins failed: here all tests'.
LENIENT = "PerSourcePenalties no\n"
# To whoever comes by the second port nothing may be changed.
READ_ONLY = """\
Match LocalPort {read_only_port}
ForceCommand internal-sftp -d {start} -R
"""
# A file that may not grow any further is what a full disk is, to who writes it: sshd must not die.
SURVIVES = ("sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh")
LOGGED = {
    "connection": "Connection from ",
    "login": "Accepted publickey for ",
    "refused_login": "Failed publickey for ",
}


def sshd() -> str | None:
    """The server's program, which must be called by its whole path."""
    return shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def lacking() -> str:
    """Why there can be no server here, or an empty string."""
    if not sshd():
        return "no sshd is installed (Debian: openssh-server)"
    return "" if sys.platform == "linux" else "the provider's part is played by Linux's inotify"


class OpenSsh:
    """The server for a `with` block, with an account's home in a directory of its own.

    Run by root it shuts its client into that home, as providers do; otherwise it can't. What a test
    asks of it has the names that `Sandbox` has for the same.
    """

    host = "127.0.0.1"
    user = pwd.getpwuid(os.geteuid()).pw_name

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client_key_path = folder / "client_key"
        self._log = folder / "sshd.log"
        self._read = 0
        self._dropped = 0
        self._breaks = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            grounds = Path(tempfile.mkdtemp(prefix="sms-openssh-", dir=GROUNDS))
            self.home = grounds / "home"
            self.provider = stack.enter_context(Provider(self.home))
            self.home.chmod(0o755)
            self._keys()
            guard = Guard(self.folder / "guard.log")
            stack.callback(guard.close)
            guard.remove(grounds)  # once all have ended
            children = stack.enter_context(Processes(guard, wave=0, grace=5))
            self._start(children)
            stack.callback(self._end_sessions)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._breaks.undo()
        self._stack.close()

    def begin_anew(self) -> None:
        """As if it had just been set up: empty directories, nobody logged in, nothing counted."""
        self._breaks.undo()
        self._end_sessions()
        self.make_room()
        self.provider.begin_anew()
        (self.home / MARKER).unlink(missing_ok=True)
        self.turn()
        self._read = self._log.stat().st_size
        self._dropped = 0

    @property
    def send(self) -> Path:
        return self.provider.send

    @property
    def report(self) -> Path:
        return self.provider.report

    def follow(self, clock_path: Path, start: datetime) -> None:
        """Show the mark of a clock that is moved by hand, which tests may use here."""
        self.clock_path = clock_path
        face = clock.create(clock_path, start=start, top_rate=clock.ANY_RATE)
        (self.home / MARKER).write_text(face.id)

    def move_clock(self, *, to: datetime) -> None:
        """Jump forward on that clock."""
        clock.move(self.clock_path, to=to)

    def turn(
        self, *, silent: bool = False, reject: bool = False, refuse_logins: bool = False
    ) -> None:
        """The manners that a plain server can have, too; what isn't named is as usual."""
        self.provider.turn("silent" if silent else "reject" if reject else "accept")
        (self.folder / "authorized_keys").write_text("" if refuse_logins else self._client_line)

    def settle(self) -> None:
        """Let the provider do what is to be done."""
        self.provider.settle()

    def settled_names(self) -> list[str]:
        """What is in `Send` once the provider has done its work."""
        self.settle()
        return sorted(os.listdir(self.send))

    def submitted(self) -> list[str]:
        """Every `.csv` that a client ever made in `Send`."""
        return self.provider.submitted()

    def put_report(self, name: str, content: bytes) -> None:
        """Show a report; one of that name is replaced."""
        self.provider.show(self.report, name, content)

    def counts(self) -> Counter[str]:
        """How many connections and logins the server saw, and how many files were put."""
        said = self._log.read_bytes()[self._read :].decode()
        logged = {what: said.count(line) for what, line in LOGGED.items()}
        return Counter(logged | {"put": self.provider.uploads(), "dropped": self._dropped})

    def drop_connection_after(self, verb: Verb, nth: int = 1) -> None:
        """Cut the line when the n-th `verb` from now is done, before the client knows."""
        self._drop(verb, "after", nth)

    def drop_connection_before(self, verb: Verb, nth: int = 1) -> None:
        """Cut the line right before the n-th `verb` from now is asked for."""
        self._drop(verb, "before", nth)

    def fill(self) -> None:
        """From now on, whoever logs in can write no more than a few bytes into a file."""
        self._limit_files(FULL)

    def make_room(self) -> None:
        """Whoever logs in may write again."""
        self._limit_files(resource.RLIM_INFINITY)

    def _limit_files(self, size: int) -> None:
        _, most = resource.prlimit(self._pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pid, resource.RLIMIT_FSIZE, (size, most))

    def stop_answering(self) -> None:
        """Let whoever is logged in wait for ever."""
        for pid in self._sessions():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def wait_for_goodbyes(self) -> None:
        """Wait until nobody is logged in any more, and the log tells all about it."""
        wait_until(lambda: not self._sessions(), "the end of all sessions", timeout=60)

    def _drop(self, verb: Verb, when: When, nth: int) -> None:
        def cut() -> None:
            self._end_sessions()
            self._dropped += 1

        self._breaks.undo()
        break_line(self._breaks, cut, verb, when, nth)

    def _sessions(self) -> list[int]:
        """The processes that serve those who are logged in or about to be."""
        return [each.pid for each in psutil.Process(self._pid).children(recursive=True)]

    def _end_sessions(self) -> None:
        with ExitStack() as stack:
            for pid in self._sessions():
                with suppress(ProcessLookupError):
                    process = os.pidfd_open(pid)
                    stack.callback(os.close, process)
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    stack.callback(select.select, [process], [], [])  # until it is no more

    def _keys(self) -> None:
        client = asyncssh.generate_private_key("ssh-ed25519")
        host = asyncssh.generate_private_key("ssh-ed25519")
        for name, key in (("client_key", client), ("host_key", host)):
            (self.folder / name).touch(mode=0o600)
            key.write_private_key(self.folder / name)
        self._client_line = client.export_public_key().decode()
        (self.folder / "authorized_keys").write_text(self._client_line)
        self.host_key = host.export_public_key().decode().strip()

    def _start(self, children: Processes) -> None:
        if IS_ROOT:
            Path("/run/sshd").mkdir(exist_ok=True)  # OpenSSH's own, of its service
        self.port, self.read_only_port = free_port(), free_port()
        facts = {
            "port": self.port,
            "read_only_port": self.read_only_port,
            "folder": self.folder,
            "start": "/" if IS_ROOT else self.home,
        }
        said = CONFIGURATION.format(**facts)
        said += CHROOT.format(home=self.home) if IS_ROOT else ""
        match = READ_ONLY.format(**facts)
        path = self.folder / "sshd_config"
        path.write_text(said + LENIENT + match)
        program = str(sshd())
        if subprocess.run([program, "-t", "-f", path], capture_output=True).returncode:
            path.write_text(said + match)
        command = [*SURVIVES, program, "-D", "-e", "-f", str(path)]
        children.start("sshd", command, env=os.environ, cwd=ROOT, log=self._log)
        self._pid = children.pid("sshd")
        wait_until(self._listens, "sshd", timeout=60, check=children.check)

    def _listens(self) -> bool:
        return "Server listening on" in self._log.read_text()
