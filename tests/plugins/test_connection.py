"""The connection's fields: understood, or refused by name before any login."""

import base64
import hashlib
import json
import re
from typing import Any

import pytest
from airflow.sdk import Connection
from hypothesis import given
from hypothesis import strategies as st

from sms.delivery.gateway import Folder
from sms.errors import ConfigurationError
from sms_airflow import gateway_login, ssh_keys, wiring
from sms_airflow.ssh_keys import Unusable
from tests.plugins.logins import at_once, quotes_no_secret
from tests.plugins.ssh_key_texts import (
    CERTIFICATE,
    ECDSA,
    LOCKED_PEM,
    OPENSSH,
    OURS,
    PUTTY,
    RSA,
    public_of_kind,
)
from tests.world import SANDBOX_ONLY, Gateway, connect

KIND, BLOB = OURS.export_public_key().decode().split()[:2]
LINE = f"{KIND} {BLOB}"
RSA_LINE = " ".join(RSA.export_public_key().decode().split()[:2])
SHA256 = base64.b64encode(hashlib.sha256(OURS.public_data).digest()).decode().rstrip("=")
HASHED = "|1|AAAAc2FsdHNhbHRzYWx0c2FsdA=|AAAAaGFzaGhhc2hoYXNoaGFzaA="
NAMES = ("nonsense", "fingerprint", "private key", "list")
UNDERSTOOD = {
    "kind and key": LINE,
    "with a comment": f"{LINE} root@gateway AAAAfoo",
    "bare": BLOB,
    "of known_hosts": f"gateway.example {LINE}",
    "of known_hosts with a port": f"[gateway.example]:2222,[192.0.2.1]:2222 {LINE}",
    "hashed": f"{HASHED} {LINE}",
    "of ssh-keyscan": f"# gateway:22 SSH-2.0-OpenSSH_9.7\ngateway {LINE}\n",
    "twice the same": f"gateway {LINE}\n192.0.2.1 {LINE}\n",
    "in quotes": f'"{LINE}"',
    "of Windows": f"\r\n  {LINE}\r\n",
    "RFC 4716": OURS.export_public_key("rfc4716").decode(),
}
REFUSED = {
    "fingerprint": (f"SHA256:{SHA256}", "holds a fingerprint.*ssh-keyscan"),
    "line of a fingerprint": (f"256 SHA256:{SHA256} gateway (ED25519)", "holds a fingerprint"),
    "MD5": (":".join(["0a"] * 16), "holds a fingerprint"),
    "several": (f"gateway {LINE}\ngateway {RSA_LINE}", r"2 different keys \(ssh-ed25519, ss"),
    "nonsense": ("nonsense", "holds no key that can be read"),
    "kind alone": ("ssh-ed25519", "names a kind of key, and no key follows"),
    "kind and nonsense": ("ssh-rsa ?", "names a kind of key, and no key follows"),
    "no key behind": ("ssh-ed25519 AAAA", "cut short or damaged"),
    "cut short": (LINE[:-9], "cut short or damaged.*%2B"),
    "cut short at a byte": (LINE[:-8], "cut short or damaged"),
    "another kind": (f"ssh-rsa {BLOB}", "says ssh-rsa before a key of the kind ssh-ed25519"),
    "DSA": (public_of_kind("ssh-dss"), "holds a DSA key, which can't be pinned"),
    "Ed448": (public_of_kind("ssh-ed448"), "a key of the kind ssh-ed448"),
    "certificate": (CERTIFICATE, "holds a certificate"),
    "authority": (f"@cert-authority * {LINE}", r"with a mark \(@\)"),
    "revoked": (f"@revoked * {LINE}", r"with a mark \(@\)"),
    "key and nonsense": (f"{LINE}\nnonsense", "holds no key that can be read"),
    "private": (OPENSSH, "holds a private key: remove it there"),
    "private on one line": (OPENSSH.replace("\n", " "), "holds a private key"),
    "private without its frame": ("".join(OPENSSH.splitlines()[1:-1]), "holds a private key"),
    "private PEM": (LOCKED_PEM, "holds a private key"),
    "private PuTTY": (PUTTY, "holds a private key"),
}  # fmt: skip


@pytest.mark.parametrize("text", UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_a_host_key_is_understood_in_every_format(text: str) -> None:
    read = ssh_keys.host_key(text)

    assert read.public_data == OURS.public_data
    assert ssh_keys.host_key_for_paramiko(read).asbytes() == OURS.public_data


@pytest.mark.parametrize("key", [RSA, ECDSA], ids=["RSA", "ECDSA"])
@pytest.mark.parametrize("kind", ["", "rsa-sha2-256 ", "gateway rsa-sha2-512 "])
def test_a_host_key_has_the_kind_in_its_bytes(key: Any, kind: str) -> None:
    blob = key.export_public_key().decode().split()[1]
    if kind and key is ECDSA:
        with pytest.raises(Unusable, match="says ssh-rsa before a key of the kind ecdsa"):
            ssh_keys.host_key(kind + blob)
        return

    assert ssh_keys.host_key(kind + blob).public_data == key.public_data


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_an_invalid_host_key_is_refused_without_quoting_it(text: str, says: str) -> None:
    with pytest.raises(Unusable, match=r"^its extra host_key ") as wrong:
        ssh_keys.host_key(text)

    assert re.search(says, str(wrong.value))
    assert quotes_no_secret(str(wrong.value).replace("ssh-keyscan", ""), OPENSSH, LOCKED_PEM, PUTTY)
    assert SHA256 not in str(wrong.value)


@given(st.text(max_size=60), st.integers(0, len(LINE)))
def test_any_text_is_one_host_key_or_refused(text: str, at: int) -> None:
    mixed = LINE[:at] + text + LINE[at:]
    try:
        known = ssh_keys.host_key(mixed).public_data
    except Unusable:
        known = OURS.public_data

    assert known == OURS.public_data


@pytest.mark.parametrize("way", ["bare", "of known_hosts", "hashed"])
def test_every_host_key_format_admits_only_the_pinned_server(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    connect(monkeypatch, gateway, host_key=UNDERSTOOD[way].replace(LINE, gateway.host_key).replace(
        BLOB, gateway.host_key.split()[1]))  # fmt: skip

    with wiring.gateway() as session:
        assert session.listing(Folder.REPORT) == []


@SANDBOX_ONLY
@pytest.mark.parametrize("pinned", ["nonsense", f"SHA256:{SHA256}", OPENSSH, [LINE]], ids=NAMES)
def test_an_unusable_host_key_is_a_configuration_error(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, pinned: Any
) -> None:
    assert gateway.client_key_path
    own = str(gateway.client_key_path)
    for said in at_once(gateway, monkeypatch, host_key=pinned, key_file=own):
        assert said.startswith("the connection sms_gateway can't be used: its extra host_key ")
        assert quotes_no_secret(said, OPENSSH)


def connection(fields: dict[str, Any], extras: Any) -> Connection:
    """A connection to a gateway, of which some is as a test wants it."""
    extra = extras if isinstance(extras, str) else json.dumps(extras)
    given = {"host": "gateway.example", "port": 22, "login": "sms", **fields}
    return Connection(conn_id="sms_gateway", conn_type="sftp", extra=extra, **given)


WRONG_EXTRAS = [
    ({"hostkey": LINE}, "its extra hostkey is ignored: did you mean host_key?"),
    ({"HOST_KEY": LINE}, "extra HOST_KEY is ignored: did you mean host_key?"),
    ({"host_keys": LINE}, "did you mean host_key?"),
    ({"known_hosts": "/etc/known"}, "did you mean host_key?"),
    ({"fingerprint": SHA256}, "did you mean host_key?"),
    ({"serviceid": "12345"}, "did you mean service_id?"),
    ({"Service-ID": "12345"}, "did you mean service_id?"),
    ({"extra__sftp__service_id": "12345"}, "did you mean service_id?"),
    ({"keyfile": "/k"}, "did you mean key_file?"),
    ({"privatekey": OPENSSH}, "did you mean private_key?"),
    ({"private_key_pass": "x"}, "did you mean private_key_passphrase?"),
    ({"send_directory": "In"}, "did you mean send_dir?"),
    ({"sendDir": "In"}, "did you mean send_dir?"),
    ({"report_folder": "Out"}, "did you mean report_dir?"),
    ({"timeout": 10}, "did you mean conn_timeout?"),
    ({"ignore_hostkey_verification": True}, "did you mean no_host_key_check?"),
    ({"port": "2222"}, "the connection's field port is used instead"),
    ({"username": "sms"}, "the connection's field login is used instead"),
    ({"service_id": "123 5"}, "its extra service_id is '123 5' and must be the 5 letters"),
    ({"service_id": " 12345"}, "must be the 5 letters or digits.*without a space"),
    ({"service_id": 1234}, "is '1234' and must be .* in quotes"),
    ({"service_id": True}, "is true or false and must be a text"),
    ({"service_id": "1234\u0665"}, "must be the 5 letters or digits"),
    ({"send_dir": 5}, "its extra send_dir is a number and must be a text"),
    ({"send_dir": ["Send"]}, "its extra send_dir is a list"),
    ({"send_dir": "Send "}, "is 'Send ': a directory .* without a space"),
    ({"report_dir": "\\Report"}, "is written with /"),
    ({"report_dir": "Re\nport"}, "a directory at the gateway is written"),
    ({"send_dir": "/"}, "must name a directory below"),
    ({"send_dir": "../Send"}, "must name a directory below"),
    ({"compress": "no"}, "its extra compress must be true or false"),
    ({"no_host_key_check": 1}, "its extra no_host_key_check must be true or false"),
    ({"host_key": LINE, "no_host_key_check": "true"}, "it pins a host_key, and its extra no_host"),
    ({"conn_timeout": "10 s"}, "its extra conn_timeout must be a number of seconds"),
    ({"conn_timeout": -1}, "must be a number of seconds"),
    ({"conn_timeout": True}, "must be a number of seconds"),
    ({"ciphers": "aes128-ctr"}, "its extra ciphers must be a list"),
    ({"disabled_algorithms": ["ssh-rsa"]}, "its extra disabled_algorithms must be an object"),
    ("host_key=x", "its extras are no JSON: write"),
    ([1], "its extras are no JSON object"),
    ('"text"', "its extras are no JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(("extras", "says"), WRONG_EXTRAS)
def test_a_harmful_extra_is_refused(extras: Any, says: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^the connection sms_gateway can't be used: "
    ) as no:
        gateway_login.read(connection({}, extras))

    assert re.search(says.replace("?", r"\?"), str(no.value))
    assert quotes_no_secret(str(no.value), OPENSSH)
    assert not no.value.retryable


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"host": ""}, "it has no host"),
        ({"host": None}, "it has no host"),
        ({"host": "sftp://gateway.example"}, "without a scheme"),
        ({"host": "sms@gateway.example"}, "without a scheme"),
        ({"host": "gateway.example "}, "without a scheme or a space"),
        ({"host": "gateway.example:2222"}, "the port goes into the field port"),
        ({"host": "gateway..example"}, "no valid server name"),
        ({"port": 0}, "its port is 0: write a number from 1 to 65535"),
        ({"port": 70000}, "its port is 70000"),
        ({"login": None}, "it has no login"),
        ({"login": " "}, "it has no login"),
    ],
)
def test_an_invalid_field_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        gateway_login.read(connection(fields, {}))


def test_every_spelling_of_a_field_is_read() -> None:
    extras = {
        **{"service_id": 12345, "send_dir": "/In/Send/", "report_dir": None, "host_key": ""},
        **{"compress": "False", "conn_timeout": "2.6", "look_for_keys": True, "owner": "CRM"},
    }
    found = connection({"host": "2001:db8::1", "port": None, "password": " secret "}, extras)

    login, read = gateway_login.read(found)

    assert login.address == "2001:db8::1:22"
    assert login.password == "secret"
    assert login.host_key is None
    assert dict(login.options) == {"compress": False, "conn_timeout": 3, "look_for_keys": True}
    assert (read["service_id"], read["send_dir"]) == ("12345", "/In/Send/")
    assert "report_dir" not in read
    assert gateway_login.unread(found) == ["owner"]
    assert "secret" not in repr(login)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"service_id": None}, "has no service_id in its extras"),
        ({"service_id": ""}, "has no service_id in its extras"),
        ({"send_dir": "Box", "report_dir": "/box"}, "names Box as send_dir and as report_dir"),
        ({"send_dir": "Report"}, "names Report as send_dir and as report_dir"),
    ],
)
@SANDBOX_ONLY
def test_an_incomplete_account_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], says: str
) -> None:
    connect(monkeypatch, gateway, **extra)

    with pytest.raises(ConfigurationError, match=says):
        wiring.account()


def test_an_unknown_extra_is_ignored_and_reported(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect(monkeypatch, gateway, owner="CRM")

    with wiring.gateway():
        assert "These extras of sms_gateway are ignored: owner" in caplog.text


@pytest.mark.parametrize(
    "variable",
    [
        '{"conn_type": "sftp", "host": "h", "port": "twenty-two", "password": "hush-hush"}',
        '{"conn_type": "sftp", "hostname": "h", "password": "hush-hush"}',
        '{"conn_type": "sftp", "extra": {"private_key": "hush-\nhush"}}',
        "sftp://sms:hush-hush@h:twenty-two/",
    ],
)
def test_an_unreadable_connection_variable_is_no_missing_connection(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SMS_GATEWAY", variable)

    with pytest.raises(
        ConfigurationError, match="value of AIRFLOW_CONN_SMS_GATEWAY is neither"
    ) as no:
        wiring.account()

    assert "hush" not in str(no.value)
    assert no.value.__cause__ is None


def test_a_connection_without_key_and_password_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    connect(monkeypatch, gateway, key_file=None)

    with pytest.raises(ConfigurationError, match="neither a key nor a password"), wiring.gateway():
        pass


def test_a_connection_without_host_key_is_reported(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.plugins.test_refused_logins import a_task, a_trigger

    connect(monkeypatch, gateway, host_key=None)

    for login in (a_task, a_trigger):
        assert "pins none: add the extra host_key" in login()
