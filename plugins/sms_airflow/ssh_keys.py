"""The keys in a connection's extras: the account's private key, and the server's host key.

Both SSH libraries report a key that they can't read as a broken connection or a refused login. So
each key is read here before anything is sent, and the error says what the setting contains instead.
A setting's value is never quoted: it may be a secret, even in the wrong field.
"""

import base64
import io
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import asyncssh
import paramiko
from asyncssh.packet import PacketDecodeError, SSHPacket

# The kinds of key that both libraries support.
CLASSES: dict[str, type[paramiko.PKey]] = {
    "ssh-ed25519": paramiko.Ed25519Key,
    "ssh-rsa": paramiko.RSAKey,
    "ecdsa-sha2-nistp256": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp384": paramiko.ECDSAKey,
    "ecdsa-sha2-nistp521": paramiko.ECDSAKey,
}
RSA_TOO = ("rsa-sha2-256", "rsa-sha2-512")  # signature algorithms of an RSA key, no kinds of key
A_KIND = re.compile(r"(ssh|ecdsa|rsa|sk-ssh|sk-ecdsa)-[a-z0-9@.-]+")

BEGIN = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ )*)PRIVATE KEY-----")
END = re.compile(r"-----END (?:[A-Z0-9]+ )*PRIVATE KEY-----")
PUTTY = "PuTTY-User-Key-File-"
SSH_COM = "BEGIN SSH2 ENCRYPTED PRIVATE KEY"  # puttygen reads it too
CERTIFICATE = re.compile(r"-cert-v\d\d@|BEGIN (?:[A-Z0-9]+ )*CERTIFICATE-")
PUBLIC = re.compile(r"(?m)^\s*[a-z][a-z0-9@.-]+\s+AAAA|BEGIN (?:[A-Z0-9]+ )*PUBLIC KEY ?-")
FINGERPRINT = re.compile(r"SHA256:[\w+/]{20}|(?:[0-9a-fA-F]{2}:){15}[0-9a-fA-F]{2}")
OPENSSH = b"openssh-key-v1\0"
OPENSSH_IN_BASE64 = "b3BlbnNzaC1rZXktdj"
DSA_IN_PKCS8 = bytes.fromhex("06072a8648ce380401")

HOST_KEY = "its extra host_key"
SCAN = "copy its line from ssh-keyscan, such as `ssh-ed25519 AAAA...`"


class Unusable(Exception):
    """The fault of a setting and its remedy, as a clause after "the connection can't be used".

    It never quotes the setting's value.
    """


def private_key(
    content: bytes, where: str, passphrase: str | None = None, file: str | None = None
) -> asyncssh.SSHKey:
    """The private key in a setting; `where` names the setting, `file` its file, if any.

    Raises Unusable unless it is exactly one private key, in OpenSSH's format or PEM.
    """
    text = _text(content)
    if not text.strip():
        raise Unusable(f"{where} is empty: it takes a private key")
    if text.lstrip().startswith(PUTTY) or SSH_COM in text:
        raise _putty(where, file)
    begins = list(BEGIN.finditer(text))
    if not begins:
        raise Unusable(f"{where} {_instead_of_private(text)}")
    if len(begins) > 1:
        raise Unusable(f"{where} has {len(begins)} private keys: keep only this account's key")
    [begin] = begins
    if begin[1] == "DSA ":
        _require_usable("ssh-dss", where)
    return _imported(_block(text, begin, where), where, passphrase)


def for_paramiko(key: asyncssh.SSHKey) -> paramiko.PKey:
    """The same private key for paramiko."""
    kind = CLASSES[key.get_algorithm()]
    # paramiko does not read every ECDSA key in OpenSSH's format.
    text = key.export_private_key("openssh" if kind is paramiko.Ed25519Key else "pkcs1-pem")
    return kind.from_private_key(io.StringIO(text.decode()))


def _text(content: bytes) -> str:
    """A key's file as text; UTF-16 and a byte order mark (Windows editors) are accepted."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    return content.decode("utf-8-sig", "replace")


def _putty(where: str, file: str | None) -> Unusable:
    source = shlex.quote(file) if file else "mtarget.ppk"
    then = "name the new file there" if file else "put the new file's text there"
    return Unusable(
        f"{where} holds a key in PuTTY's format (.ppk), which only PuTTY reads: convert it by "
        f"`puttygen {source} -O private-openssh -o mtarget`, and {then}"
    )


def _instead_of_private(text: str) -> str:
    """What a text without a private key contains, and the remedy."""
    if CERTIFICATE.search(text):
        return "holds a certificate: it takes the private key that belongs to it"
    if PUBLIC.search(text):
        return (
            "holds a public key, which is for the provider: it takes the private one, whose file "
            "most often has the same name without .pub"
        )
    if OPENSSH_IN_BASE64 in text or "PRIVATE KEY" in text:
        return "holds a key whose BEGIN line is missing or damaged: copy the whole file again"
    if len(text.splitlines()) == 1 and re.search(r"[/\\~]", text):
        return "holds a path or a word: it takes a key's text; the extra key_file takes a path"
    return (
        "holds no private key that can be read: it takes one in OpenSSH's format or PEM, which "
        "begins with a line such as -----BEGIN OPENSSH PRIVATE KEY-----"
    )


def _block(text: str, begin: re.Match[str], where: str) -> str:
    """The lines of the key, from BEGIN to END."""
    end = END.search(text, begin.end())
    if not end:
        raise Unusable(f"{where} holds a key without its END line: it is cut short, copy it again")
    inside = text[begin.end() : end.start()]
    if r"\n" in inside or r"\r" in inside:
        raise Unusable(
            f"{where} has each line break as two characters, \\ and n: it was escaped twice. Write "
            "\\n once in JSON, and a real line break in Airflow's form; json.dumps does it right, "
            "see Connection in docs/runbook.md"
        )
    if not re.match(r"[ \t]*[\r\n]", inside) or not re.search(r"[\r\n][ \t]*$", inside):
        raise Unusable(
            f"{where} has lost its line breaks: BEGIN and END need their own lines. Write \\n for "
            "each in JSON; json.dumps does it right, see Connection in docs/runbook.md"
        )
    lines = (line.strip() for line in text[begin.start() : end.end()].splitlines())
    return "\n".join(lines) + "\n"


def _imported(block: str, where: str, passphrase: str | None) -> asyncssh.SSHKey:
    encrypted, kind = _read_header(block)
    _require_usable(kind, where)
    if encrypted and not passphrase:
        raise Unusable(
            f"{where} holds an encrypted key, and there is no passphrase: add it as the extra "
            "private_key_passphrase (the connection's password is for the login)"
        )
    try:
        key = asyncssh.import_private_key(block, passphrase if encrypted else None)
        _require_usable(key.get_algorithm(), where)
        for_paramiko(key)
    except Unusable:
        raise
    except Exception:  # of either library, or of cryptography: its message may quote the key
        content = (
            "an encrypted key that the extra private_key_passphrase does not open: correct it, or "
            "copy the key again"
            if encrypted
            else "a damaged key: copy the whole file again"
        )
        raise Unusable(f"{where} holds {content}") from None
    return key


def _read_header(block: str) -> tuple[bool, str]:
    """Whether a key is encrypted, and its kind, or "" if that needs the passphrase."""
    body = b""
    with suppress(ValueError):
        body = base64.b64decode("".join(x for x in block.splitlines()[1:-1] if ":" not in x))
    if not body.startswith(OPENSSH):
        encrypted = "BEGIN ENCRYPTED" in block or "Proc-Type: 4,ENCRYPTED" in block
        return encrypted, "ssh-dss" if DSA_IN_PKCS8 in body else ""
    packet, encrypted = SSHPacket(body[len(OPENSSH) :]), False
    try:
        encrypted = packet.get_string() != b"none"  # the cipher
        packet.get_string(), packet.get_string(), packet.get_uint32()  # key derivation, key count
        return encrypted, _kind_of(packet.get_string())
    except PacketDecodeError:
        return encrypted, ""


def _kind_of(blob: bytes) -> str:
    """The kind named in a public key's bytes, or ""."""
    try:
        return SSHPacket(blob).get_string().decode("ascii")
    except (PacketDecodeError, UnicodeDecodeError):
        return ""


def _require_usable(kind: str, where: str) -> None:
    """Raise Unusable for a kind that one of the libraries does not support; "" is unknown."""
    if kind and kind not in CLASSES:
        raise Unusable(
            f"{where} holds {_of_kind(kind)}, which can't be used: make a new pair (ssh-keygen -t "
            "ed25519, or -t rsa), and send the provider its .pub file"
        )


def _of_kind(kind: str) -> str:
    """An unsupported kind of key, in words."""
    if kind == "ssh-dss":
        return "a DSA key"
    return f"a key of the kind {kind}" if A_KIND.fullmatch(kind) else "a key of an unknown kind"


# The key of a server


def host_key(text: str) -> asyncssh.SSHKey:
    """The host key in a connection's extra host_key.

    It may be written with or without its kind, as a line of known_hosts (also hashed), or as the
    text of a public key's file. Raises Unusable for anything else, and for several keys.
    """
    if BEGIN.search(text) or PUTTY in text or SSH_COM in text or OPENSSH_IN_BASE64 in text:
        raise Unusable(
            f"{HOST_KEY} holds a private key: remove it there, and make a new pair if others can "
            f"read the connection. It takes the server's public key: {SCAN}"
        )
    found = {key.public_data: key for key in _host_keys(text)}
    if len(found) > 1:
        kinds = ", ".join(sorted(key.get_algorithm() for key in found.values()))
        raise Unusable(
            f"{HOST_KEY} holds {len(found)} different keys ({kinds}): keep the one that you have "
            "compared with the provider's, of the kind ssh-ed25519 if there is one"
        )
    if not found:
        raise Unusable(f"{HOST_KEY} {_instead_of_host_key(text)}")
    [key] = found.values()
    return key


def host_key_for_paramiko(key: asyncssh.SSHKey) -> paramiko.PKey:
    """The same host key for paramiko."""
    return paramiko.PKey.from_type_string(key.get_algorithm(), key.public_data)


def _host_keys(text: str) -> Iterator[asyncssh.SSHKey]:
    """Each key in a text. Raises Unusable if a line is no key."""
    if "BEGIN " in text:  # perhaps a public key's file in another format
        with suppress(Exception):
            key = asyncssh.import_public_key(text)
            yield _host_key("", key.public_data)
        return
    for line in text.splitlines():
        words = line.replace('"', " ").replace("'", " ").split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].startswith("@"):
            raise Unusable(f"{HOST_KEY} holds a line of known_hosts with a mark (@): {SCAN}")
        for before, word in pairwise(["", *words]):
            if word.startswith("AAAA"):
                yield _host_key(before, _blob(word))
                break
        else:
            raise Unusable(f"{HOST_KEY} {_instead_of_host_key(line)}")


def _blob(word: str) -> bytes:
    try:
        return base64.b64decode(word, validate=True)
    except ValueError:
        raise _cut_short() from None


def _host_key(before: str, blob: bytes) -> asyncssh.SSHKey:
    """The key of these bytes. Raises Unusable if the word before them names another kind."""
    kind = _kind_of(blob)
    if "-cert-" in kind:
        raise Unusable(f"{HOST_KEY} holds a certificate and no plain key: {SCAN}")
    if A_KIND.fullmatch(kind) and kind not in CLASSES:
        raise Unusable(
            f"{HOST_KEY} holds {_of_kind(kind)}, which can't be pinned: take another of the "
            "server's keys (ssh-keyscan -t ed25519,rsa,ecdsa)"
        )
    try:
        CLASSES[kind](data=blob)
        key = asyncssh.import_public_key(f"{kind} {base64.b64encode(blob).decode()}")
    except Exception:  # of either library, or of cryptography
        raise _cut_short() from None
    named = "ssh-rsa" if before in RSA_TOO else before
    if A_KIND.fullmatch(named) and named != kind:
        raise Unusable(f"{HOST_KEY} says {named} before a key of the kind {kind}: {SCAN}")
    return key


def _cut_short() -> Unusable:
    return Unusable(
        f"{HOST_KEY} holds a key that is cut short or damaged: {SCAN}, whole (in a URI, + is "
        "written %2B)"
    )


def _instead_of_host_key(text: str) -> str:
    """What a text without a host key contains, and the remedy."""
    if FINGERPRINT.search(text):
        return (
            "holds a fingerprint instead of the key: get the key by ssh-keyscan, compare its "
            "fingerprint (ssh-keygen -lf) with this one, and copy the key's line"
        )
    if any(A_KIND.fullmatch(word) for word in text.split()):
        return f"names a kind of key, and no key follows: {SCAN}"
    return f"holds no key that can be read: {SCAN}"
