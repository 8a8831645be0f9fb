"""Checks of a query's text: it must be one SELECT; and where a statement ends in PostgreSQL."""

import re
from collections.abc import Iterator

from sqlparse import lexer
from sqlparse import tokens as kinds

from sms.errors import SourceError

# Tokens that may contain a semicolon; block comments nest, so only their opening is matched here.
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
QUERIES = ("SELECT", "WITH", "VALUES", "FROM")  # first words of a query
# Words of statements that write or run something, besides those that the parser marks as DML.
WRITING = (
    *("INTO", "CREATE", "DROP", "ALTER", "TRUNCATE", "GRANT", "REVOKE", "OVERWRITE", "OUTFILE"),
    *("EXEC", "EXECUTE", "CALL", "GO"),
)
BLANK = re.compile(r"(?:\s|;|--[^\n]*)*")
EDGE = re.compile(r"/\*|\*/")


def require_query(sql: str, where: str = "the query") -> None:
    """Raise SourceError unless a text is one SELECT or WITH that does not write.

    It is checked before it is sent, as not every server has a read-only mode.
    """
    rule = f"{where} must be one SELECT, or a WITH that ends in one"
    words = [*_words(sql), ("", ";")]
    while words[-2:] == [("", ";"), ("", ";")]:
        words.pop()
    if any(word == ";" for _, word in words[:-1]):
        raise SourceError(f"{rule}, and it has more than one statement: keep only the SELECT")
    begins = next((word for _, word in words if word != "("), ";")
    if begins not in QUERIES:
        raise SourceError(f"{rule}, and it " + ("is empty" if begins == ";" else "does not"))
    for (_, before), (kind, word), (_, after) in zip(words, words[1:], words[2:], strict=False):
        writes = (kind == "DML" and word != "SELECT") or word in WRITING
        # replace(...) is a function, t.update a column, FOR UPDATE a lock and MERGE JOIN a hint.
        if writes and after not in ("(", "JOIN") and before not in (".", "FOR"):
            raise SourceError(
                f"{rule}, and it would write ({word}): keep only the SELECT, and put a column of "
                "this name in quotes"
            )


def without_end(sql: str) -> str:
    """A query that `require_query` accepts, without the semicolons at its end."""
    found = lexer.tokenize(sql)
    return "".join(text for kind, text in found if kind not in kinds.Punctuation or text != ";")


def _words(sql: str) -> Iterator[tuple[str, str]]:
    """Pairs of "DML" or "" and a word: a keyword in upper case, a sign, or "?" for all else."""
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
    """The only statement of a text, without its semicolon, to be put into brackets.

    Raises SourceError if a second statement follows. An unclosed quote is left to the server, whose
    error is more precise.
    """
    place = 0
    while found := TOKEN.search(sql, place):
        if found["end"]:
            if not _is_blank(sql[found.end() :]):
                raise SourceError(f"{where} has more than one statement: keep only the SELECT")
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
    """The end of the comment that opens at `start`; PostgreSQL's comments nest."""
    depth = 0
    for edge in EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)
