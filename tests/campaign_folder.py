"""A campaign's folder, as a data engineer writes it."""

from pathlib import Path

import pytest

YAML = 'kind: marketing\nsender: LUMIERE\nstop_mention: "STOP 36180"\n'
TEXT = "Bonjour {{ first_name }}, à samedi chez {{ store }} !"


def write_campaign(folder: Path, yaml: str = YAML, sql: str = "SELECT 1", text: str = TEXT) -> Path:
    """Make the folder with its three files."""
    folder.mkdir(parents=True)
    (folder / "campaign.yaml").write_text(yaml)
    (folder / "recipients.sql").write_text(sql)
    (folder / "message.txt").write_text(text)
    return folder


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    """The folder of a campaign whose recipients come from files."""
    return write_campaign(tmp_path / "spring")
