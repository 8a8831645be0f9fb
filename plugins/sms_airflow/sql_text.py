"""What must be read of a query's text: that it is one query, and where PostgreSQL's ends."""

import re
from collections.abc import Iterator

from sqlparse import lexer
from sqlparse import tokens as kinds

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
QUERIES = ("SELECT", "WITH", "VALUES", "FROM")  # what a query may begin with
# Words of what writes or runs something, beside those that the parser calls DML.
WRITING = (
    *("INTO", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE", "OVERWRITE", "OUTFILE"),
    *("EXEC", "EXECUTE", "CALL", "GO"),
)
BLANK = re.compile(r"(?:\s|;|--[^\n]*)*")
EDGE = re.compile(r"/\*|\*/")


def require_query(sql: str, where: str = "the query") -> None:
    """Refuse what is not one SELECT or WITH, or would write: not every server can be told to.

    Raises SourceError, before anything is sent.
    """
    told = f"{where} must be one SELECT, or a WITH that ends in one"
    words = [*_words(sql), ("", ";")]
    while words[-2:] == [("", ";"), ("", ";")]:
        words.pop()
    if any(word == ";" for _, word in words[:-1]):
        raise SourceError(f"{told}, and it holds more than one statement: keep the SELECT alone")
    begins = next((word for _, word in words if word != "("), ";")
    if begins not in QUERIES:
        raise SourceError(f"{told}, and it " + ("is empty" if begins == ";" else "does not"))
    for (_, before), (kind, word), (_, after) in zip(words, words[1:], words[2:], strict=False):
        writes = (kind == "DML" and word != "SELECT") or word in WRITING
        # replace(...) is a function, t.update a column, FOR UPDATE a lock and MERGE JOIN a hint.
        if writes and after not in ("(", "JOIN") and before not in (".", "FOR"):
            raise SourceError(
                f"{told}, and it would write ({word}): keep the SELECT alone, and put a column of "
                "such a name in quotes"
            )


def without_end(sql: str) -> str:
    """A query that `require_query` lets pass, without the semicolons at its end."""
    found = lexer.tokenize(sql)
    return "".join(text for kind, text in found if kind not in kinds.Punctuation or text != ";")


def _words(sql: str) -> Iterator[tuple[str, str]]:
    """A text's keywords and signs in upper case, and "" for all else; DML ones say so."""
    for kind, text in lexer.tokenize(sql):
        if kind in kinds.Comment and text.startswith("/*!"):  # MySQL runs what is in it
            yield ("", "INTO")
        if kind in kinds.Comment or kind in kinds.Whitespace:
            continue
        if kind in kinds.Keyword or text.upper() in WRITING:
            yield ("DML" if kind in kinds.DML else "", text.upper())
        else:
            yield ("", text if kind in kinds.Punctuation else "?")


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
