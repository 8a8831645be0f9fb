"""The agreement with the provider for one account."""

import ipaddress
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

MOST_ROWS = 1_000_000  # page, *SFTP*: "up to 1 million recipients"


@dataclass(frozen=True, slots=True)
class Account:
    """One customer's account.

    `marketing` is a shell-style pattern: campaigns whose id matches keep the law's hours. The page
    does not say how the provider recognises marketing; the sandbox uses the id.
    """

    service_id: str = "12345"
    user: str = "sms"
    password: str | None = None
    authorized_key: Path | None = None
    allow: tuple[str, ...] = ("127.0.0.1", "::1")
    long_sms: bool = False
    unicode: bool = False
    encoding: str = "utf-8"
    marketing: str = ""
    most_rows: int = MOST_ROWS

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9]{5}", self.service_id):
            raise ValueError(f"a service id has 5 letters or digits, not {self.service_id!r}")
        for network in self.allow:
            ipaddress.ip_network(network)

    def is_marketing(self, campaign_id: str) -> bool:
        """Whether the law's hours apply to a campaign."""
        return fnmatchcase(campaign_id, self.marketing)
