"""Campaigns of fictional people, as frames and as the files that hold the same."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.campaign_folder import write_campaign

YAML = 'kind: marketing\nsender: LUMIERE\nstop_mention: "STOP 36180"\n'
TEXT = "Bonjour {{ first_name }}, à samedi chez {{ store }} !"
AT = "2027-03-02T10:00"

Campaigns = Callable[..., Path]


@pytest.fixture
def campaign(tmp_path: Path) -> Campaigns:
    """Makes a campaign's folder."""

    def make(more: str = "", text: str = TEXT, texts: dict[str, str] | None = None) -> Path:
        folder = write_campaign(tmp_path / "spring", YAML + more, "SELECT 1", text)
        if texts:
            (folder / "message.txt").unlink()
        for name, each in (texts or {}).items():
            (folder / f"message_{name}.txt").write_text(each)
        return folder

    return make


@pytest.fixture
def people() -> pd.DataFrame:
    """A few of each: who is written to, and who is not for this reason or that."""
    rows = [(f"k{n}", f"06 39 98 01 {n:02}", "Zoé", "Lyon") for n in range(40)]
    rows += [
        ("twice", "+33639980101", "Léa", "Lyon"),
        ("stopped", "0639980006", "Ben", "Lyon"),
        ("landline", "01 99 00 12 34", "Ana", "Lyon"),
        ("nameless", "0639980199", None, "Lyon"),
        ("quoted", "0639980198", 'Jean "JN"; <b>Noël</b>', "Saint-Étienne"),
        ("long", "0639980197", "x" * 200, "Lyon"),
    ]
    return pd.DataFrame(rows, columns=["key", "msisdn", "first_name", "store"])


@pytest.fixture
def stopped() -> pd.DataFrame:
    """Who said STOP."""
    return pd.DataFrame({"msisdn": ["06 39 98 00 06", "+33639980103"]})
