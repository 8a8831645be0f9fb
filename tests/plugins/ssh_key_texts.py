"""Keys as people paste, export and break them; the secret ones are made anew by each process."""

import base64
import struct

import asyncssh

PASSPHRASE = "correct horse battery"
OURS = asyncssh.generate_private_key("ssh-ed25519")
RSA = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
ECDSA = asyncssh.generate_private_key("ecdsa-sha2-nistp384")
OPENSSH = OURS.export_private_key("openssh").decode()
PUBLIC = OURS.export_public_key().decode()
LOCKED = OURS.export_private_key("openssh", passphrase=PASSPHRASE, rounds=50).decode()
LOCKED_PEM = RSA.export_private_key("pkcs1-pem", passphrase=PASSPHRASE).decode()
LOCKED_PKCS8 = RSA.export_private_key("pkcs8-pem", passphrase=PASSPHRASE).decode()
CERTIFICATE = OURS.generate_user_certificate(OURS, "sms").export_certificate().decode()
SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0"
PUTTY = f"""\
PuTTY-User-Key-File-3: ssh-ed25519
Encryption: none
Comment: sms
Public-Lines: 2
{PUBLIC.split()[1][:44]}
{PUBLIC.split()[1][44:]}
Private-Lines: 1
{SECRET}
Private-MAC: 00
"""
SSH_COM = f"""\
---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----
Comment: "sms"
{SECRET}
---- END SSH2 ENCRYPTED PRIVATE KEY ----
"""


def _strings(*values: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


def of_kind(kind: str) -> str:
    """A private key in OpenSSH's format of a kind that is not ours."""
    public = _strings(kind.encode(), b"\1" * 32)
    body = b"openssh-key-v1\0" + _strings(b"none", b"none", b"") + struct.pack(">I", 1)
    body += _strings(public, b"\0" * 64)
    text = base64.b64encode(body).decode()
    return f"-----BEGIN OPENSSH PRIVATE KEY-----\n{text}\n-----END OPENSSH PRIVATE KEY-----\n"


def public_of_kind(kind: str) -> str:
    """A public key of a kind that is not ours."""
    blob = _strings(kind.encode(), b"\1" * 32)
    return f"{kind} {base64.b64encode(blob).decode()}"


def pem(what: str, body: str) -> str:
    """A PEM block."""
    return f"-----BEGIN {what}-----\n{body}\n-----END {what}-----\n"


DSA_PEM = pem("DSA PRIVATE KEY", SECRET)
