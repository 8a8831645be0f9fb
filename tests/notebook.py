"""Notifiers of the tests, as an operator would name them in the settings."""

import json
import sys
import threading
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier


class Notebook(BaseNotifier):
    """Adds a line to a file: what it was to render, and the facts."""

    template_fields = ("words",)

    def __init__(self, path: str, words: str = "") -> None:
        super().__init__()
        self.path = path
        self.words = words

    def notify(self, context: Any) -> None:
        """Write it down, with the task that told it."""
        line = {"words": self.words, "by": context["ti"].task_id, **context["sms"]}
        with Path(self.path).open("a") as file:
            file.write(json.dumps(line) + "\n")


class Clumsy(BaseNotifier):
    """Fails in the way that it was told to."""

    def __init__(self, way: str = "raise") -> None:
        super().__init__()
        self.way = way

    def notify(self, context: Any) -> None:
        """Raise, leave the process, or hang."""
        if self.way == "raise":
            raise RuntimeError("the mail server is on fire")
        if self.way == "exit":
            sys.exit(1)
        threading.Event().wait()


def lines(path: Path) -> list[dict[str, Any]]:
    """What was written into a notebook."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
