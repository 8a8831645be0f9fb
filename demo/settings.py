"""A copy of the product's settings with some values changed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def write(origin: Path, target: Path, changes: Mapping[str, Any]) -> None:
    """Copy a settings file with changes. Raises KeyError for an unknown setting."""
    yaml = YAML(typ="safe", pure=True)
    settings = yaml.load(origin.read_text(encoding="utf-8"))
    if unknown := changes.keys() - settings.keys():
        raise KeyError(f"{origin} has no setting {', '.join(sorted(unknown))}")
    with target.open("w", encoding="utf-8") as out:
        yaml.dump({**settings, **changes}, out)
