"""The image's folder /opt/airflow as the Dockerfile fills it, laid out without an engine."""

import re
import shutil
from pathlib import Path

from tests.compose.reading import ROOT

INSTRUCTION = re.compile(r"^([A-Z]+) (.+)$", re.MULTILINE)


def instructions(kind: str) -> list[str]:
    """The arguments of every instruction of this kind, in the file's order."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [match[2] for match in INSTRUCTION.finditer(text) if match[1] == kind]


def copied() -> list[tuple[str, str]]:
    """What is copied from the checkout, and where to below /opt/airflow."""
    pairs = []
    for arguments in instructions("COPY"):
        words = [word for word in arguments.split() if not word.startswith("--")]
        *sources, target = words
        for source in sources:
            pairs.append((source, source if target == "./" else target))
    return pairs


def lay_out(home: Path) -> None:
    """Fill `home` as building the image would."""
    for source, target in copied():
        if (ROOT / source).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / source, home / target, ignore=unwanted)
        else:
            shutil.copy(ROOT / source, home / target)
    for arguments in instructions("RUN"):
        command, *folders = arguments.split()
        if command == "mkdir":
            for folder in folders[1:]:
                (home / folder).mkdir(parents=True)
