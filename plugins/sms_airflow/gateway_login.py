"""Reading and checking of the gateway's connection, before it is used.

An extra with an unknown name, or with a value of the wrong type, would do silent harm: the wrong
directory, or refused logins until the server blocks the address. So all fields are read here, for
tasks and triggers alike. A ConfigurationError names the wrong setting and the remedy, and never
quotes a secret.
"""

import contextlib
import difflib
import ipaddress
import json
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
from airflow.sdk import Connection

from sms.errors import ConfigurationError
from sms.words import shown
from sms_airflow import ssh_keys
from sms_airflow.ssh_keys import Unusable

OPTIONS = (
    *("no_host_key_check", "allow_host_key_change", "look_for_keys", "compress", "conn_timeout"),
    *("ciphers", "disabled_algorithms"),
)
LARGEST_KEY = 1 << 16  # bytes of a private key's file; RSA of 16,384 bits has 13,000
SERVICE_ID = re.compile(r"[A-Za-z0-9]{5}", re.ASCII)  # spec, *File name*


@dataclass(frozen=True, slots=True)
class Login:
    """The login data of the gateway, and its host key.

    `options` are extras of the provider's hook, with its names and types.
    """

    conn_id: str
    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    key: asyncssh.SSHKey | None = field(repr=False)
    certificate: str | None
    host_key: asyncssh.SSHKey | None
    options: Mapping[str, Any]

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"


def read(found: Connection) -> tuple[Login, dict[str, Any]]:
    """The login of a connection, and all its extras. Raises ConfigurationError."""
    try:
        extras = _extras(found.extra)
        login = Login(
            conn_id=str(found.conn_id),
            host=_host(found.host),
            port=_port(found.port),
            user=_user(found.login),
            password=(found.password or "").strip() or None,
            key=_own_key(extras),
            certificate=_certificate(extras),
            host_key=_pinned(extras),
            options={name: value for name, value in extras.items() if name in OPTIONS},
        )
    except Unusable as problem:
        raise ConfigurationError(
            f"the connection {found.conn_id} can't be used: {problem}"
        ) from None
    return login, extras


# Its fields


def _host(host: str | None) -> str:
    host = host or ""
    if not host.strip():
        raise Unusable("it has no host: fill in the provider's server")
    if host != host.strip() or re.search(r"[\s/@]", host):
        raise Unusable("its host must be only a name or an address, without a scheme or a space")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if ":" in host:
            raise Unusable("its host has a colon: the port goes into the field port") from None
        try:
            host.encode("idna")
        except UnicodeError:
            raise Unusable("its host is no valid server name: correct it") from None
    return host


def _port(port: int | None) -> int:
    if port is None or 0 < port < 1 << 16:
        return port or 22
    raise Unusable(f"its port is {port}: write a number from 1 to 65535, most often 22")


def _user(login: str | None) -> str:
    if not (login or "").strip():
        raise Unusable("it has no login: fill in the name that the provider gave you")
    return str(login)


# Its extras


def unread(found: Connection) -> list[str]:
    """The names of extras that are ignored."""
    with contextlib.suppress(Unusable):
        return [_named(name) for name in _given(found.extra) if name not in KNOWN]
    return []


def _extras(text: str | None) -> dict[str, Any]:
    """The extras that are set, each checked; an empty extra counts as not set."""
    given = _given(text)
    for name in given.keys() - KNOWN.keys():
        if meant := _meant(name):
            raise Unusable(f"its extra {_named(name)} is ignored: {meant}")
    checked = {
        name: KNOWN[name](name, value)
        for name, value in given.items()
        if name in KNOWN and not (isinstance(value, str) and not value.strip())
    }
    if checked.keys() >= {"key_file", "private_key"}:
        raise Unusable("it has both of the extras key_file and private_key: remove one of them")
    if checked.get("passphrase") and checked.get("private_key_passphrase"):
        raise Unusable(
            "it has both of the extras passphrase and private_key_passphrase: remove one"
        )
    if checked.get("host_key") and checked.get("no_host_key_check"):
        raise Unusable(
            "it pins a host_key, and its extra no_host_key_check turns the check off: remove "
            "no_host_key_check"
        )
    return checked


def _given(text: str | None) -> dict[str, Any]:
    try:
        given = json.loads(text or "{}")
    except json.JSONDecodeError:
        raise Unusable("its extras are no JSON: write them as one object, {...}") from None
    if not isinstance(given, dict):
        raise Unusable("its extras are no JSON object: write them as {...}")
    return {name: value for name, value in given.items() if value is not None}


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    raise Unusable(f"its extra {name} is {_kind(value)} and must be a text, in quotes")


def _path(name: str, value: Any) -> str:
    return _text(name, value).strip()


def _service_id(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # as YAML and templates write it
    if SERVICE_ID.fullmatch(text := _text(name, value)):
        return text
    raise Unusable(
        f"its extra {name} is {shown(repr(text[:20]))} and must be the 5 letters or digits that "
        "the provider gave you, without a space and, in JSON, in quotes"
    )


def _directory(name: str, value: Any) -> str:
    path = _text(name, value)
    parts = path.strip("/").split("/")
    if path != path.strip() or not path.isprintable() or "\\" in path:
        raise Unusable(
            f"its extra {name} is {shown(repr(path[:60]))}: a directory at the gateway is written "
            "with / and without a space before or behind it"
        )
    if any(part in ("", ".", "..") for part in parts):
        raise Unusable(
            f"its extra {name} is {shown(repr(path[:60]))} and must name a directory below the "
            "login directory, such as the provider's Send and Report"
        )
    return path


def _flag(name: str, value: Any) -> bool:
    flag = {"true": True, "false": False}.get(str(value).strip().lower())
    if flag is None:
        raise Unusable(f"its extra {name} must be true or false")
    return flag


def _seconds(name: str, value: Any) -> float:
    try:
        seconds = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError):
        seconds = 0
    if 0 < seconds < 1e6:
        return seconds
    raise Unusable(f"its extra {name} must be a number of seconds, such as 10")


def _whole_seconds(name: str, value: Any) -> int:
    return max(round(_seconds(name, value)), 1)


def _names(name: str, value: Any) -> list[str]:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return value
    raise Unusable(f'its extra {name} must be a list of names, such as ["aes128-ctr"]')


def _lists(name: str, value: Any) -> dict[str, list[str]]:
    if isinstance(value, dict):
        return {kind: _names(name, each) for kind, each in value.items()}
    raise Unusable(
        f'its extra {name} must be an object of lists, such as {{"pubkeys": ["rsa-sha2-256"]}}'
    )


def _kind(value: Any) -> str:
    """The JSON type of a value that is no text."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


KNOWN: dict[str, Callable[[str, Any], Any]] = {
    "service_id": _service_id,
    "send_dir": _directory,
    "report_dir": _directory,
    "host_key": _text,
    "key_file": _path,
    "private_key": _text,
    "private_key_passphrase": _text,
    "passphrase": _text,
    "no_host_key_check": _flag,
    "allow_host_key_change": _flag,
    "look_for_keys": _flag,
    "compress": _flag,
    "conn_timeout": _whole_seconds,
    "cmd_timeout": _seconds,
    "ciphers": _names,
    "disabled_algorithms": _lists,
}
FIELDS = {
    **{"host": "host", "hostname": "host", "server": "host", "port": "port"},
    **{"login": "login", "user": "login", "username": "login", "password": "password"},
}
# Names of other tools, too different to be found by similarity.
ELSEWHERE = {
    **{"identity": "key_file", "identityfile": "key_file", "keyfilename": "key_file"},
    **{"pkey": "private_key", "key": "private_key", "sshkey": "private_key"},
    **{"knownhosts": "host_key", "fingerprint": "host_key", "hostfingerprint": "host_key"},
    **{"privatekeypassword": "private_key_passphrase", "keypassword": "private_key_passphrase"},
    **{"timeout": "conn_timeout", "connecttimeout": "conn_timeout", "compression": "compress"},
    **{"senddirectory": "send_dir", "sendfolder": "send_dir", "sendpath": "send_dir"},
    **{"reportdirectory": "report_dir", "reportfolder": "report_dir", "reportpath": "report_dir"},
    **{"service": "service_id", "account": "service_id", "accountid": "service_id"},
    **{"ignorehostkeyverification": "no_host_key_check"},
}


def _meant(name: str) -> str:
    """A hint at the likely meaning of an unknown extra; "" without one."""
    bare = re.sub(r"[^a-z0-9]", "", re.sub(r"^extra__[a-z]+__", "", name.lower()))
    if bare in FIELDS:
        return f"the connection's field {FIELDS[bare]} is used instead, so move it there"
    names = {each.replace("_", ""): each for each in KNOWN}
    if "pass" in bare and bare not in names:
        return "did you mean private_key_passphrase?"
    close = difflib.get_close_matches(bare, names, n=1, cutoff=0.75)
    likely = names.get(bare) or ELSEWHERE.get(bare) or (names[close[0]] if close else "")
    return f"did you mean {likely}?" if likely else ""


def _named(name: str) -> str:
    return shown(name[:40])


# The keys of the extras


def _own_key(extras: Mapping[str, Any]) -> asyncssh.SSHKey | None:
    passphrase = extras.get("private_key_passphrase") or extras.get("passphrase")
    if text := extras.get("private_key"):
        return ssh_keys.private_key(text.encode(), "its extra private_key", passphrase)
    if not (name := extras.get("key_file")):
        return None
    if "\n" in name or "PRIVATE KEY" in name or ssh_keys.PUTTY in name:
        raise Unusable(
            "its extra key_file holds a key's text and must be the path of its file: move the text "
            "to the extra private_key"
        )
    path = Path(name).expanduser()
    where = f"the file {shown(name)} of its extra key_file"
    return ssh_keys.private_key(_content(path, where), where, passphrase, shown(name))


def _content(path: Path, where: str) -> bytes:
    everywhere = "every worker and the triggerer must be able to read it"
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise Unusable(f"{where} is a folder: name the key's file in it")
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_KEY:
            raise Unusable(f"{where} is no key file: name the private key's file")
        return path.read_bytes()
    except FileNotFoundError:
        whole = "" if path.is_absolute() else "; write its absolute path"
        raise Unusable(f"{where} can't be read, as it is not there: {everywhere}{whole}") from None
    except PermissionError:
        user = "the user that Airflow runs as may not read it"
        raise Unusable(f"{where} can't be read, as {user}: {everywhere}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no path"
        raise Unusable(f"{where} can't be read ({why}): {everywhere}") from None


def _certificate(extras: Mapping[str, Any]) -> str | None:
    """The path of the certificate beside a key's file, by ssh's rule; None if there is none."""
    path = Path(f"{extras.get('key_file') or ''}-cert.pub").expanduser()
    if not extras.get("key_file") or not path.exists():
        return None
    try:
        asyncssh.read_certificate(path)
    except (OSError, ValueError):
        raise Unusable(
            f"the file {shown(str(path))} beside its key can't be read as a certificate: renew it, "
            "or remove it"
        ) from None
    return str(path)


def _pinned(extras: Mapping[str, Any]) -> asyncssh.SSHKey | None:
    return ssh_keys.host_key(extras["host_key"]) if extras.get("host_key") else None
