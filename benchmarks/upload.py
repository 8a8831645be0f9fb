"""A campaign's file over several lines, to a real OpenSSH server, beside OpenSSH's own client."""

import filecmp
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contest import ROOT, Contest, Mismatch, Place, Side, SideFailed, benchmark, module
from benchmarks.prepare import messages
from tests.openssh import OpenSsh, lacking

NAME = "SEND-bench.tmp"
TOLD = "OpenSSH's %s, the better of sftp and sftp -C (ours timed inside, from connecting on)"


@benchmark("upload_loopback", rows=1_000_000)
def on_this_machine(place: Place) -> Contest:
    """No line at all: what the two ends can do."""
    return _contest(place, compress=False)


@benchmark("upload_10ms", rows=1_000_000)
def near(place: Place) -> Contest:
    """A fast line in the same country."""
    return _contest(place, delay=10, compress=False)


@benchmark("upload_50ms", rows=1_000_000, rounds=3)
def far(place: Place) -> Contest:
    """A fast line to another continent."""
    return _contest(place, delay=50)


@benchmark("upload_100mbit", rows=1_000_000, rounds=3)
def office(place: Place) -> Contest:
    """A line as offices have it."""
    return _contest(place, mbit=100, delay=40)


@benchmark("upload_20mbit", rows=1_000_000, rounds=3)
def home(place: Place) -> Contest:
    """A line as homes have it."""
    return _contest(place, mbit=20, delay=40)


def _contest(place: Place, *, mbit: float = 0, delay: float = 0, compress: bool = True) -> Contest:
    """Ours, by the connection's extra `compress`, and both ways of OpenSSH's client."""
    if why := lacking() or ("" if shutil.which("sftp") else "no sftp is installed"):
        raise SideFailed(f"{why}: nothing to upload to")
    source = messages(place)
    (place.folder / "server").mkdir()
    server = place.enter(OpenSsh(place.folder / "server"))
    port = place.enter(_line(server.port, mbit, delay)) if mbit or delay else server.port
    target = server.send / NAME

    def check(said: str) -> None:
        if not filecmp.cmp(source, target, shallow=False):
            raise Mismatch("other bytes arrived than were sent")

    key = str(server.client_key_path)
    extra = {"service_id": "12345", "key_file": key, "host_key": server.host_key}
    connection = {"conn_type": "sftp", "host": server.host, "port": port, "login": server.user}
    connection["extra"] = extra | {"compress": str(compress).lower()}
    ours = Side(
        module("uploading", source, NAME),
        makes=target,
        check=check,
        timed_inside=True,
        variables=place.airflow | {"AIRFLOW_CONN_SMS_GATEWAY": json.dumps(connection)},
    )
    orders = place.folder / "orders"
    orders.write_text(f'put "{source}" Send/{NAME}\n')
    known = place.folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{port} {server.host_key}\n")

    def theirs(*options: str) -> Side:
        command = ["sftp", "-q", "-b", str(orders), "-P", str(port), *options]
        command += ["-i", key, "-o", "IdentitiesOnly=yes"]
        command += ["-F", "none", "-o", f'UserKnownHostsFile="{known}"']
        # The way that loses by far on a slow line need not be waited for again and again.
        rounds = 1 if mbit and not options else None
        return Side(
            [*command, f"{server.user}@{server.host}"],
            makes=target,
            check=check,
            most_rounds=rounds,
        )

    return Contest(ours, theirs(), TOLD % "sftp", {TOLD % "sftp -C": theirs("-C")})


@contextmanager
def _line(port: int, mbit: float, delay: float) -> Iterator[int]:
    """The port at which the server is that far away."""
    command = [sys.executable, "-m", "benchmarks.link", str(port)]
    command += ["--mbit", str(mbit), "--delay", str(delay)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as link:
        assert link.stdout
        try:
            yield int(link.stdout.readline())
        finally:
            link.communicate()
