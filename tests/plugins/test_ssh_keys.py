"""Unusable private keys: reported by their problem, at once, at every login."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sms.delivery.gateway import Folder
from sms.errors import ConfigurationError
from sms_airflow import ssh_keys, wiring
from sms_airflow.ssh_keys import Unusable
from sms_airflow.triggers import VerdictTrigger
from tests.plugins.logins import at_once, quotes_no_secret
from tests.plugins.ssh_key_texts import (
    CERTIFICATE,
    DSA_PEM,
    ECDSA,
    LOCKED,
    LOCKED_PEM,
    LOCKED_PKCS8,
    OPENSSH,
    OURS,
    PASSPHRASE,
    PUBLIC,
    PUTTY,
    RSA,
    SSH_COM,
    of_kind,
    pem,
)
from tests.waiting import first_event, trigger
from tests.world import SANDBOX_ONLY, STEM, Gateway, connect, show

WRONG = "wrong passphrase"
BODY = OPENSSH.splitlines()[1:-1]
TORN = "".join(OPENSSH.splitlines(keepends=True)[:-2])
PEM = RSA.export_private_key("pkcs1-pem").decode()
# What a key's file, or the extra private_key, holds, and what is said of it.
TEXTS: dict[str, tuple[str, str]] = {
    "PuTTY's": (PUTTY, r"PuTTY's format \(.ppk\).*`puttygen .+ -O private-openssh -o mtarget`"),
    "PuTTY's of Windows": ("\ufeff" + PUTTY.replace("\n", "\r\n"), "puttygen"),
    "SSH.com's": (SSH_COM, "puttygen"),
    "public": (PUBLIC, "holds a public key, which is for the provider"),
    "public RSA": (RSA.export_public_key().decode(), "holds a public key"),
    "public PEM": (RSA.export_public_key("pkcs8-pem").decode(), "holds a public key"),
    "public RFC 4716": (RSA.export_public_key("rfc4716").decode(), "holds a public key"),
    "certificate": (CERTIFICATE, "holds a certificate"),
    "certificate of TLS": (pem("CERTIFICATE", "AAAA"), "holds a certificate"),
    "blank": (" \n\n", "is empty"),
    "nonsense": ("to be done", "holds no private key that can be read"),
    "locked": (LOCKED, "an encrypted key, and there is no passphrase.*private_key_passphrase"),
    "locked PEM": (LOCKED_PEM, "an encrypted key, and there is no passphrase"),
    "locked PKCS#8": (LOCKED_PKCS8, "an encrypted key, and there is no passphrase"),
    "torn": (TORN, "without its END line: it is cut short"),
    "torn PEM": (PEM[: len(PEM) // 2], "without its END line"),
    "headless": ("\n".join(BODY), "BEGIN line is missing or damaged"),
    "beheaded": (OPENSSH.replace("-----BEGIN", "----BEGIN"), "BEGIN line is missing or damaged"),
    "short": (OPENSSH.replace(BODY[0] + "\n", ""), "a damaged key"),
    "altered": (PEM.replace(PEM[200:240], "A" * 40), "a damaged key"),
    "empty inside": (pem("RSA PRIVATE KEY", ""), "a damaged key"),
    "DSA": (of_kind("ssh-dss"), "holds a DSA key, which can't be used.*ssh-keygen"),
    "DSA PEM": (DSA_PEM, "holds a DSA key"),
    "in hardware": (of_kind("sk-ssh-ed25519@openssh.com"), "a key of the kind sk-ssh-ed25519@o"),
    "Ed448": (of_kind("ssh-ed448"), "a key of the kind ssh-ed448"),
    "two": (OPENSSH + PEM, "has 2 private keys"),
    "escaped twice": (OPENSSH.replace("\n", "\\n"), r"line break as two characters, \\ and n"),
    "escaped in part": (OPENSSH.replace("\n", "\\n", 2), r"two characters, \\ and n"),
    "on one line": (OPENSSH.replace("\n", " "), "has lost its line breaks"),
    "run together": (OPENSSH.replace("\n", ""), "has lost its line breaks"),
}  # fmt: skip


@SANDBOX_ONLY  # nobody is asked
@pytest.mark.parametrize(("text", "says"), TEXTS.values(), ids=TEXTS)
def test_a_file_without_a_usable_key_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, says: str
) -> None:
    file = tmp_path / "my key"
    file.write_text(text)

    for said in at_once(gateway, monkeypatch, key_file=str(file)):
        assert said.startswith("the connection sms_gateway can't be used: the file ")
        assert f"{file} of its extra key_file" in said
        assert re.search(says, said)
        assert quotes_no_secret(said, text)
        assert "puttygen" not in said or f"puttygen '{file}'" in said


@pytest.mark.parametrize(("text", "says"), TEXTS.values(), ids=TEXTS)
def test_a_private_key_field_without_usable_key_is_refused(text: str, says: str) -> None:
    with pytest.raises(Unusable, match=r"^its extra private_key ") as wrong:
        ssh_keys.private_key(text.encode(), "its extra private_key")

    assert re.search(says, str(wrong.value))
    assert quotes_no_secret(str(wrong.value), text)
    assert wrong.value.__cause__ is None


@SANDBOX_ONLY
@pytest.mark.parametrize(
    ("extras", "says"),
    [
        ({"private_key": PUTTY}, "its extra private_key holds a key in PuTTY's format"),
        ({"private_key": OPENSSH.replace("\n", "\\n")}, "it was escaped twice"),
        ({"private_key": "/keys/mtarget"}, "holds a path.*the extra key_file takes a path"),
        ({"private_key": [OPENSSH]}, "its extra private_key is a list and must be a text"),
        ({"private_key": LOCKED}, "no passphrase"),
        ({"private_key": LOCKED, "private_key_passphrase": WRONG}, "does not open"),
        ({"private_key": LOCKED, "private_key_passphrase": 12345}, "is a number and must be"),
        ({"private_key": LOCKED_PEM, "passphrase": WRONG}, "does not open"),
        ({"private_key": LOCKED_PKCS8, "passphrase": WRONG}, "does not open"),
        ({"private_key": LOCKED, "passphrase": "a", "private_key_passphrase": "b"}, "has both"),
        ({"private_key": OPENSSH, "key_file": "/keys/mtarget"}, "both of the extras key_file a"),
        ({"key_file": OPENSSH}, "holds a key's text and must be the path"),
        ({"key_file": 5}, "its extra key_file is a number and must be a text"),
        ({"key_file": "keys/mtarget"}, "not there.*every worker and the triggerer.*absolute"),
        ({"key_file": "/nowhere/\0"}, "can't be read"),
        ({"key_file": "/dev/zero"}, "is no key file"),
        ({"key_file": "/etc/passwd/key"}, "can't be read"),
        ({"key_file": "/nowhere/mtarget"}, "can't be read, as it is not there"),
    ],
)  # fmt: skip
def test_an_unusable_setting_of_a_key_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, extras: Mapping[str, Any], says: str
) -> None:
    for said in at_once(gateway, monkeypatch, **extras):
        assert said.startswith("the connection sms_gateway can't be used: ")
        assert re.search(says, said)
        assert quotes_no_secret(said, OPENSSH, LOCKED, LOCKED_PEM, LOCKED_PKCS8, PUTTY)
        assert WRONG not in said
        assert "12345" not in said


@SANDBOX_ONLY
def test_a_folder_or_unreadable_file_is_no_key(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for said in at_once(gateway, monkeypatch, key_file=str(tmp_path)):
        assert "is a folder: name the key's file in it" in said

    def forbidden(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    (tmp_path / "key").write_text(OPENSSH)
    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(ConfigurationError, match="that Airflow runs as may not read it: every w"):
        connect(monkeypatch, gateway, key_file=str(tmp_path / "key")) or wiring.account()


@SANDBOX_ONLY
def test_a_broken_certificate_beside_the_key_is_refused(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(OPENSSH)
    (tmp_path / "key-cert.pub").write_text("nothing")

    for said in at_once(gateway, monkeypatch, key_file=str(tmp_path / "key")):
        assert "key-cert.pub beside its key can't be read as a certificate" in said


FORMATS = ("openssh", "pkcs1-pem", "pkcs8-pem")


@pytest.mark.parametrize("way", ["file", "text", "text of Windows", "indented text", "UTF-16"])
@pytest.mark.parametrize("passphrase", [None, PASSPHRASE])
def test_a_key_in_every_format_logs_in_everywhere(
    gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    way: str,
    passphrase: str | None,
) -> None:
    assert gateway.client_key_path
    key = ssh_keys.private_key(gateway.client_key_path.read_bytes(), "the test's")
    text = key.export_private_key("openssh", passphrase=passphrase, rounds=50).decode()
    written = {
        "text of Windows": "\ufeff" + text.replace("\n", "\r\n"),
        "indented text": "\n\n" + text.replace("\n", "\n  "),
    }.get(way, text)
    file = tmp_path / "key"
    file.write_text(text, encoding="utf-16" if way == "UTF-16" else None)
    how: dict[str, Any] = {"key_file": str(file)} if way in ("file", "UTF-16") else {
        "key_file": None, "private_key": written
    }  # fmt: skip
    show(gateway, f"{STEM}.done")
    connect(monkeypatch, gateway, private_key_passphrase=passphrase, **how)

    with wiring.gateway() as session:
        assert session.listing(Folder.REPORT) == []
    assert asyncio.run(first_event(trigger(VerdictTrigger)))["saw"] == "accepted"
    assert gateway.counts()["refused_login"] == 0


@pytest.mark.parametrize(
    ("key", "form"),
    [
        pytest.param(key, form, id=f"{name}-{form}")
        for name, key in (("Ed25519", OURS), ("RSA", RSA), ("ECDSA", ECDSA))
        for form in FORMATS
        if (name, form) != ("Ed25519", "pkcs1-pem")  # there is no such format
    ],
)
@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
def test_both_libraries_read_the_same_key(key: Any, form: str, passphrase: str) -> None:
    text = key.export_private_key(form, passphrase=passphrase or None)

    read = ssh_keys.private_key(text, "a test's key", passphrase)

    assert read.public_data == key.public_data == ssh_keys.for_paramiko(read).asbytes()


@given(st.integers(0, len(OPENSSH)), st.integers(0, len(OPENSSH)), st.text(max_size=8))
@example(0, len(OPENSSH), "")
def test_a_damaged_key_is_the_same_key_or_refused(start: int, end: int, instead: str) -> None:
    """A damaged key is one more sentence, never another error, and never another key."""
    damaged = OPENSSH[: min(start, end)] + instead + OPENSSH[max(start, end) :]
    try:
        read = ssh_keys.private_key(damaged.encode("utf-8", "surrogatepass"), "it")
    except Unusable as wrong:
        said, known = str(wrong), OURS.public_data
    else:
        said, known = "", read.public_data

    assert known == OURS.public_data
    assert quotes_no_secret(said, OPENSSH)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_a_key(content: bytes) -> None:
    with pytest.raises(Unusable):
        ssh_keys.private_key(content, "it")
