"""Logins, and the file operations of clients."""

import base64
import json

import paramiko
import pytest

from sms_sandbox import Account, Knobs
from tests.sandbox.wire import STEM, log_in, put, rows, submit

PIECE = 32_768  # bytes that the client writes at once


def test_the_home_shows_send_report_and_the_clocks_id(gateway, client):
    assert sorted(client.listdir(".")) == [".sandbox", "Report", "Send"]
    with client.open(".sandbox") as marker:
        assert marker.read().decode() == json.loads(gateway.clock_path.read_text())["id"]


def test_the_host_key_is_the_one_published(gateway):
    kind, data = (gateway.root / "host_key.pub").read_text().split()
    with paramiko.Transport((gateway.host, gateway.port)) as transport:
        transport.start_client(timeout=60)
        shown = transport.get_remote_server_key()

    assert (shown.get_name(), shown.asbytes()) == (kind, base64.b64decode(data))


def test_another_key_is_refused(gateway):
    with paramiko.Transport((gateway.host, gateway.port)) as transport:
        transport.start_client(timeout=60)
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey(gateway.user, paramiko.ECDSAKey.generate())

    assert len(gateway.journal("refused_login")) == 1
    assert gateway.journal("login") == []


def test_a_password_can_be_the_login(open_gateway):
    gateway = open_gateway(account=Account(password="not a secret"))
    with log_in(gateway, password="not a secret") as client:
        assert client.listdir("Send") == []

    with (
        pytest.raises(paramiko.AuthenticationException),
        log_in(gateway, password="another"),
    ):
        pass


def test_an_unknown_address_is_refused(open_gateway):
    gateway = open_gateway(account=Account(allow=("192.0.2.0/24",)))

    with pytest.raises((paramiko.SSHException, EOFError, OSError)), log_in(gateway):
        pass

    assert gateway.journal("refused_address")[0]["address"] == "127.0.0.1"
    assert gateway.journal("connection") == []


def test_logins_can_be_refused_for_a_while(gateway):
    gateway.turn(refuse_logins=True)
    with pytest.raises(paramiko.AuthenticationException), log_in(gateway):
        pass

    gateway.turn(refuse_logins=False)
    with log_in(gateway) as client:
        assert client.listdir("Send") == []


def test_only_a_posix_rename_overwrites(open_gateway):
    gateway = open_gateway(knobs=Knobs(silent=True))
    with log_in(gateway) as client:
        submit(client, rows(1))
        put(client, f"{STEM}.tmp", rows(2))

        with pytest.raises(OSError, match="exists"):
            client.rename(f"Send/{STEM}.tmp", f"Send/{STEM}.csv")
        assert client.stat(f"Send/{STEM}.csv").st_size == len(rows(1))

        client.posix_rename(f"Send/{STEM}.tmp", f"Send/{STEM}.csv")
        assert client.stat(f"Send/{STEM}.csv").st_size == len(rows(2))


def test_clients_cannot_leave_the_home_or_create_folders(gateway, client):
    assert client.normalize("../..") == "/"
    with pytest.raises(FileNotFoundError):
        client.stat("../clock.json")
    with pytest.raises(PermissionError):
        client.symlink("/etc", "Send/etc")
    with pytest.raises(PermissionError):
        client.mkdir("send")


def test_files_have_sandbox_time(gateway, client):
    put(client, f"{STEM}.tmp", rows(1))

    assert abs(client.stat(f"Send/{STEM}.tmp").st_mtime - gateway.now().timestamp()) < 300


def test_the_journal_counts_connections_logins_and_listings(gateway):
    for _ in range(2):
        with log_in(gateway) as client:
            client.listdir("Send")
            client.listdir("Report")

    counts = gateway.counts()
    assert (counts["connection"], counts["login"], counts["listing"]) == (2, 2, 4)


def test_a_connection_lost_after_the_rename_keeps_the_rename(gateway, client):
    gateway.drop_connection_after("rename")

    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        submit(client, rows(1))

    assert gateway.settled_names() == [f"{STEM}.done"]


def test_a_connection_lost_before_the_rename_leaves_it_undone(gateway, client):
    gateway.drop_connection_before("rename")

    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        submit(client, rows(1))

    assert gateway.settled_names() == [f"{STEM}.tmp"]


def test_a_connection_lost_during_an_upload_leaves_a_part(gateway, client):
    gateway.drop_connection_after("write", nth=2)

    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        put(client, f"{STEM}.tmp", rows(10_000))

    assert gateway.settled_names() == [f"{STEM}.tmp"]
    [part] = gateway.journal("put")
    assert (part["size"], part["whole"]) == (2 * PIECE, False)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_connection_lost_at_a_listing_is_lost_once(gateway, client, when):
    gateway.turn(drops=[{"verb": "list", "when": when}])
    with pytest.raises((paramiko.SSHException, EOFError, OSError)):
        client.listdir("Send")

    with log_in(gateway) as again:
        assert again.listdir("Send") == []


def test_the_same_drop_can_be_asked_for_again(gateway):
    for _ in range(2):
        gateway.drop_connection_after("stat")
        with (
            log_in(gateway) as client,
            pytest.raises((paramiko.SSHException, EOFError, OSError)),
        ):
            client.stat("Send")

    assert len(gateway.journal("dropped")) == 2
