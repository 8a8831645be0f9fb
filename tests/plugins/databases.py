"""Databases whose drivers have only what DB-API asks for."""

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


class Sqlite:
    """A hook of a SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get_conn(self) -> Any:
        return sqlite3.connect(self.path)


class Cursor:
    """A cursor over given rows that remembers how it was asked for and for what."""

    arraysize = 1

    def __init__(self, names: Sequence[str], rows: Sequence[Sequence[Any]], **options: Any) -> None:
        self.options = options
        self.executed: list[str] = []
        self._names = names
        self._rows: Iterator[Sequence[Any]] = iter(rows)

    @property
    def description(self) -> list[tuple[str]] | None:
        return [(name,) for name in self._names] or None

    def execute(self, sql: str) -> None:
        self.executed.append(sql)

    def fetchmany(self, size: int) -> list[Sequence[Any]]:
        return [row for row, _ in zip(self._rows, range(size), strict=False)]


class Connection:
    """A connection, and a hook of itself."""

    names: Sequence[str] = ("key", "name")
    rows: Sequence[Sequence[Any]] = (("a", "Zoé"), ("b", None))

    def __init__(self, fault: Exception | None = None) -> None:
        self.cursors: list[Cursor] = []
        self.closed = False
        self._fault = fault

    def get_conn(self) -> "Connection":
        return self

    def cursor(self, kind: type[Cursor] = Cursor, **options: Any) -> Cursor:
        if self._fault:
            raise self._fault
        self.cursors.append(kind(self.names, self.rows, **options))
        return self.cursors[-1]

    def close(self) -> None:
        self.closed = True


def of(module: str, kind: type) -> Any:
    """The class as if the module had made it."""
    return type(kind.__name__, (kind,), {"__module__": module})
