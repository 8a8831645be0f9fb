"""Files of recipients and stop lists, and a campaign to prepare from them."""

from pathlib import Path

import pytest

TEXT = "Bonjour {{ first_name }}, à samedi chez {{ store }} !"


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    folder = tmp_path / "spring"
    folder.mkdir()
    (folder / "campaign.yaml").write_text(
        'kind: marketing\nsender: LUMIERE\nstop_mention: "STOP 36180"\n'
    )
    (folder / "recipients.sql").write_text("SELECT 1")
    (folder / "message.txt").write_text(TEXT)
    return folder
