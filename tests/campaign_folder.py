"""A campaign's folder, as a data engineer writes it."""

from pathlib import Path


def write_campaign(folder: Path, yaml: str, sql: str, text: str) -> Path:
    """Make the folder with its three files."""
    folder.mkdir(parents=True)
    (folder / "campaign.yaml").write_text(yaml)
    (folder / "recipients.sql").write_text(sql)
    (folder / "message.txt").write_text(text)
    return folder
