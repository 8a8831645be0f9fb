"""Checks of a campaign against the columns of its query, without reading a row.

What belongs here: names and types of columns. Checks that need rows (the values of a text column,
exclusions) belong to `sms prepare` and to a run. `sms.run.query_columns` asks for the columns.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal

import jinja2

from sms.audience.column_names import means_opted_out
from sms.audience.screening import ColumnFault, Screener
from sms.campaign.definition import YAML_FILE, Campaign
from sms.campaign.template import Logic, Placeholder, Template
from sms.clock import PARIS
from sms.columnar.values import ValueKind
from sms.errors import BadCampaign, SourceError
from sms.run import checks, preparation
from sms.run.query_columns import QueryColumn

# Types that can be neither a phone number nor a postcode.
NO_CODES = (ValueKind.BOOLEAN, ValueKind.DATE, ValueKind.TIMESTAMP, ValueKind.OTHER)
# One value of each type: a text that fails on it fails on all values of the type.
EXAMPLES: dict[ValueKind, object] = {
    ValueKind.INTEGER: 7,
    ValueKind.DECIMAL: Decimal("7.5"),
    ValueKind.FLOAT: 7.5,
    ValueKind.DATE: date(2027, 3, 2),
    ValueKind.TIMESTAMP: datetime(2027, 3, 2, 10, 0, tzinfo=PARIS),
}
# Database types whose text form is not for human readers.
FOR_PROGRAMS = re.compile(r"jsonb?|bytea|xml|hstore|void")


def faults(campaign: Campaign, columns: Sequence[QueryColumn]) -> Iterator[BadCampaign]:
    """The faults for which a run would fail or exclude all rows, with file and line if known."""
    screener = _screener(campaign)
    if screener is None:  # a fault of the campaign's folder, which `checks` finds
        return
    for fault in screener.column_faults([each.name for each in columns]):
        yield from _placed(campaign, screener, fault)
    yield from _unreadable(campaign, screener, columns)
    kinds = _kinds(columns)
    for text in preparation.texts(campaign).values():
        broken, _ = _judged(text, kinds)
        yield from broken
        yield from _unworkable(text, columns, {fault.line for fault in broken})


def notes(campaign: Campaign, columns: Sequence[QueryColumn]) -> Iterator[str]:
    """Warnings that are no faults, or that depend on the rows."""
    by_name = {each.name: each for each in columns}
    key = by_name.get(campaign.key)
    if key and key.kind in (ValueKind.FLOAT, *NO_CODES):
        assert key.kind
        yield (
            f"{campaign.sql_path}: the key {_with_type(key)} is {key.kind.noun}: two recipients "
            "may have the same key, and its text may differ from the one in your tables: cast it "
            "to text in the query"
        )
    for text in preparation.texts(campaign).values():
        _, unsure = _judged(text, _kinds(columns))
        yield from (f"{fault}. It works if all rows say yes or no" for fault in unsure)
        for piece in text.pieces:
            found = by_name.get(piece.name) if isinstance(piece, Placeholder) else None
            if found and FOR_PROGRAMS.fullmatch(found.type):
                yield (
                    f"{text.path}, line {text.lines[found.name]}: {{{{ {found.name} }}}} is of the "
                    f"type {found.type}, which phones would show in its technical form: return a "
                    "readable text in the query"
                )


def opted_out(columns: Sequence[QueryColumn]) -> list[str]:
    """The columns whose name means that a recipient has opted out."""
    return [each.name for each in columns if means_opted_out(each.name)]


def _screener(campaign: Campaign) -> Screener | None:
    try:
        return preparation.screener(campaign, preparation.template(campaign))
    except SourceError:
        return None


def _kinds(columns: Sequence[QueryColumn]) -> dict[str, ValueKind]:
    return {each.name: each.kind for each in columns if each.kind}


def _with_type(column: QueryColumn) -> str:
    return f"{column.name} ({column.type})" if column.type else column.name


# --- Columns ------------------------------------------------------------------------------------


def _placed(campaign: Campaign, screener: Screener, fault: ColumnFault) -> Iterator[BadCampaign]:
    """A fault of a column, at each line that uses it: of the texts, campaign.yaml or the query."""
    if fault.asked_by is None:
        problem = fault.sentence.removeprefix(f"the query of {screener.query} ")
        line = _line_naming(fault.column, campaign.sql)
        yield BadCampaign(str(campaign.sql_path), line, problem)
    elif fault.asked_by == "text":
        problem = fault.sentence.removeprefix(f"{screener.text} ")
        for text in preparation.texts(campaign).values():
            if fault.column in text.lines:
                yield BadCampaign(text.path, text.lines[fault.column], problem)
    else:
        problem = fault.sentence.removeprefix(f"{YAML_FILE} ")
        yield BadCampaign(*checks.place_of(fault.asked_by, campaign), problem)


def _unreadable(
    campaign: Campaign, screener: Screener, columns: Sequence[QueryColumn]
) -> Iterator[BadCampaign]:
    """Columns whose type can hold no phone number, or no postcode."""
    wrong = {
        screener.msisdn: ("phone number", (ValueKind.FLOAT, *NO_CODES)),
        screener.postcode: ("postcode", NO_CODES),
    }
    for each in columns:
        what, kinds = wrong.get(each.name, ("", ()))
        if each.kind and each.kind in kinds:
            lost = " has lost digits" if each.kind is ValueKind.FLOAT else ""
            problem = (
                f"{_with_type(each)} is {each.kind.noun}, which{lost or f' is no {what}'}, so all "
                "rows would be left out: return it as text"
            )
            line = _line_naming(each.name, campaign.sql)
            yield BadCampaign(str(campaign.sql_path), line, problem)


def _line_naming(column: str, sql: str) -> int | None:
    """The line of a query that names a column; None if no line does, or several do."""
    word = re.compile(rf"(?<!\w){re.escape(column)}(?!\w)", re.IGNORECASE)
    found = [number for number, line in enumerate(sql.split("\n"), start=1) if word.search(line)]
    return found[0] if len(found) == 1 else None


# --- Texts --------------------------------------------------------------------------------------


def _judged(
    text: Template, kinds: dict[str, ValueKind]
) -> tuple[list[BadCampaign], list[BadCampaign]]:
    """The expressions that fail, and those that work if a text column holds yes or no."""
    broken = text.broken_by(kinds)
    unsure: list[BadCampaign] = []
    for name in [name for name in text.computed if kinds.get(name) is ValueKind.TEXT]:
        left = {_plain(fault) for fault in text.broken_by(kinds | {name: ValueKind.YES_NO})}
        unsure += [fault for fault in broken if _plain(fault) not in left]
        broken = [fault for fault in broken if _plain(fault) in left]
    return broken, unsure


def _plain(fault: BadCampaign) -> tuple[int | None, str]:
    return fault.line, fault.problem.replace(ValueKind.YES_NO.noun, ValueKind.TEXT.noun)


def _unworkable(
    text: Template, columns: Sequence[QueryColumn], reported: set[int | None]
) -> Iterator[BadCampaign]:
    """Logic that fails when it is run on an example of each column's type.

    Faults in the lines `reported` are skipped.
    """
    by_name = {each.name: each for each in columns}
    for piece in text.pieces:
        if not isinstance(piece, Logic):
            continue
        asked = [by_name[name] for name in piece.columns if name in by_name]
        fault = _failing(piece, asked) if len(asked) == len(piece.columns) else None
        if fault and fault.line not in reported:
            types = " and ".join(
                f"{_with_type(each)} is {each.kind.noun}" for each in asked if each.kind
            )
            yield BadCampaign(fault.path, fault.line, f"{fault.problem}; {types}")


def _failing(piece: Logic, asked: Sequence[QueryColumn]) -> BadCampaign | None:
    """The fault of a piece of logic on examples of its columns' types.

    None if it works, or if a column is text: a text may hold any value.
    """
    with_example = EXAMPLES.keys() | {ValueKind.BOOLEAN}
    if not asked or any(each.kind not in with_example for each in asked):
        return None
    for truth in (True, False):
        values = {each.name: EXAMPLES.get(each.kind, truth) for each in asked if each.kind}
        try:
            piece.of(values)
        except BadCampaign as error:
            if isinstance(error.__context__, TypeError | jinja2.UndefinedError):
                return error
    return None
