"""docker-compose.yaml as compose reads it, in plain Python."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yaml"
VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([?-])([^}]*))?\})")


@dataclass(frozen=True, slots=True)
class ComposeFile:
    """The file's services, and what they become with the variables of a .env."""

    text: str
    services: dict[str, dict[str, Any]]
    volumes: dict[str, Any]

    @classmethod
    def read(cls) -> Self:
        """The project's own file."""
        text = COMPOSE_FILE.read_text(encoding="utf-8")
        read = YAML(typ="safe").load(text)
        return cls(text, read["services"], read["volumes"])

    @property
    def variables(self) -> set[str]:
        """Every variable that the file asks for."""
        handed_on = {
            name
            for service in self.services.values()
            for name, value in service.get("environment", {}).items()
            if value is None
        }
        return handed_on | {match[2] for match in VARIABLE.finditer(self.text) if match[2]}

    def environment(self, service: str, variables: Mapping[str, str]) -> dict[str, str]:
        """What a container of this service would see."""
        given = self.services[service].get("environment", {})
        whole = {
            name: variables.get(name) if value is None else value for name, value in given.items()
        }
        return {
            name: interpolated(value, variables)
            for name, value in whole.items()
            if value is not None
        }

    def long_running(self) -> dict[str, dict[str, Any]]:
        """The services that are to be there all the time."""
        return {name: one for name, one in self.services.items() if one["restart"] != "no"}

    def airflow(self) -> dict[str, dict[str, Any]]:
        """Airflow's own parts."""
        return {
            name: one
            for name, one in self.long_running().items()
            if one.get("command", [""])[0] == "airflow"
        }


def interpolated(text: str, variables: Mapping[str, str]) -> str:
    """Compose's own rules, as far as this file needs them: $$, ${A}, ${A:-b}, ${A:?why}."""

    def value(match: re.Match[str]) -> str:
        dollar, name, operator, rest = match.groups()
        if dollar:
            return "$"
        if variables.get(name):
            return variables[name]
        if operator == "?":
            raise KeyError(f"{name}: {rest}")
        return rest if operator == "-" else ""

    return VARIABLE.sub(value, text)
