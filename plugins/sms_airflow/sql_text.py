"""The little that must be read of a query's text: where PostgreSQL's statement ends."""

import re

from sms.errors import SourceError

# What a semicolon may hide in; a block comment holds others, so only its opening is found here.
TOKEN = re.compile(
    r"""
    (?P<comment>/\*)
    | --[^\n]*
    | (?<!\w)[eE]'(?:[^'\\]|\\.|'')*'
    | '[^']*'
    | "[^"]*"
    | (?<![\w$])(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)
    | (?P<end>;)
    """,
    re.DOTALL | re.VERBOSE,
)
BLANK = re.compile(r"(?:\s|;|--[^\n]*)*")
EDGE = re.compile(r"/\*|\*/")


def statement(sql: str, where: str = "the query") -> str:
    """The one statement of a text without its semicolon, so that it fits into brackets.

    Raises SourceError where something follows. What is cut short (a quote that never closes) is
    left to the server, which tells it better.
    """
    place = 0
    while found := TOKEN.search(sql, place):
        if found["end"]:
            if not _is_blank(sql[found.end() :]):
                raise SourceError(f"{where} holds more than one statement: keep the SELECT alone")
            return sql[: found.start()]
        place = _after_comment(sql, found.start()) if found["comment"] else found.end()
    return sql


def _is_blank(rest: str) -> bool:
    place = 0
    while True:
        blank = BLANK.match(rest, place)
        place = blank.end() if blank else place
        if not rest.startswith("/*", place):
            return place == len(rest)
        place = _after_comment(rest, place)


def _after_comment(sql: str, start: int) -> int:
    """Where the comment ends that opens at `start`: in PostgreSQL they nest."""
    depth = 0
    for edge in EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)
