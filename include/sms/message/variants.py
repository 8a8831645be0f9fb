"""Which of a campaign's texts a person gets, and who gets none, so that they can be compared.

What belongs here: the lot that is drawn for each number, and the rendering of a batch by it. What
doesn't: what campaign.yaml may say of variants (`sms.campaign`), what a text is made of
(`sms.message`).

The lot is a hash of the campaign's name and the number. Nothing is remembered, and still a person
gets the same variant in every run, wherever and in whatever order the rows are read. The control
group and the variants are drawn independently.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa

from sms.campaign.bounded_jinja import Condition
from sms.campaign.template import Template
from sms.columnar.digests import scattered
from sms.columnar.text import TEXT, Encoded, Flags, Ints, Pieced
from sms.columnar.values import ValueKind
from sms.errors import BadCampaign
from sms.message.rendering import SUSPECTS, Renderer, Rendering
from sms.yaml_files import DocumentFault

WORDS = 2**64  # so many different words may be drawn


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Draws a share of all people; a larger share holds everybody that a smaller one does."""

    campaign: str
    share: Fraction

    def __call__(self, msisdns: Ints) -> Flags:
        """Which of these numbers are held out."""
        drawn: Flags = scattered(msisdns, f"holdout\0{self.campaign}") < _bound(self.share)
        return drawn


@dataclass(frozen=True)
class Assignment:
    """Draws a variant for each person, by weights that sum to 1.

    Each variant has a stretch of all words, in the order of their names. Where weights change, the
    stretches' ends move, and only the people between an old end and its new place change.
    """

    campaign: str
    weights: Mapping[str, Fraction]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The variants, in the order that `of` counts them."""
        return tuple(sorted(self.weights))

    def of(self, msisdns: Ints) -> Ints:
        """For each number, the place of its variant in `names`."""
        ends = list(accumulate(self.weights[name] for name in self.names))[:-1]
        bounds = np.array([_bound(end) for end in ends], np.uint64)
        drawn = scattered(msisdns, f"variant\0{self.campaign}")
        which: Ints = np.searchsorted(bounds, drawn, side="right").astype(np.int64)
        return which


def _bound(share: Fraction) -> np.uint64:
    """Below it lies this share of all words."""
    return np.uint64(int(share * WORDS))


@dataclass(frozen=True)
class Texts:
    """The variants' texts, and what they ask of the query together, as `Template` tells of one.

    A gap in a column that any of them needs leaves a row out of all: else one variant would be
    read by other people than the next.
    """

    by_variant: Mapping[str, Template]

    @property
    def path(self) -> str:
        """The texts' files, for an error that may be any one's."""
        first, *others = (Path(text.path) for text in self.by_variant.values())
        return " or ".join([str(first), *(path.name for path in others)])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that some text names."""
        named = (name for text in self.by_variant.values() for name in text.columns)
        return tuple(dict.fromkeys(named))

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that no row may lack."""
        named = (name for text in self.by_variant.values() for name in text.needed)
        return tuple(dict.fromkeys(named))

    @property
    def conditions(self) -> dict[int, Condition]:
        """Those of the first text that has some."""
        return next((text.conditions for text in self.by_variant.values() if text.conditions), {})

    @property
    def notes(self) -> tuple[DocumentFault, ...]:
        """What no text may have meant."""
        return tuple(
            DocumentFault(note.line, f"{Path(text.path).name}: {note.problem}")
            for text in self.by_variant.values()
            for note in text.notes
        )

    @property
    def computed(self) -> tuple[str, ...]:
        """The columns that some text computes with."""
        named = (name for text in self.by_variant.values() for name in text.computed)
        return tuple(dict.fromkeys(named))

    def broken_by(self, kinds: Mapping[str, ValueKind]) -> list[BadCampaign]:
        """Each expression that values of these kinds would break, or make never true."""
        return [each for text in self.by_variant.values() for each in text.broken_by(kinds)]

    @property
    def slow_because(self) -> str | None:
        """Why some texts can't be rendered by column, if they can't."""
        told = [
            f"{Path(text.path).name}, {text.slow_because}"
            for text in self.by_variant.values()
            if text.slow_because
        ]
        return "; ".join(told) or None


@dataclass(frozen=True)
class VariantRenderer:
    """Turns an audience into messages, each person's by the text that is theirs."""

    assignment: Assignment
    renderers: Mapping[str, Renderer]

    def render(self, audience: pa.RecordBatch) -> Rendering:
        """The messages of a batch, as `Renderer.render`, in the order of its rows."""
        which = self.assignment.of(audience["msisdn"].to_numpy())
        made, places = [], []
        for place, name in enumerate(self.assignment.names):
            rows = np.flatnonzero(which == place)
            some = audience.take(pa.array(rows))
            rendering = named(self.renderers[name].render(some), name)
            left_out = rendering.excluded["row"].to_numpy()
            places.append(rows[~np.isin(some["row"].to_numpy(), left_out)])
            made.append(rendering)
        return _together(made, np.argsort(np.concatenate(places)))


def named(rendering: Rendering, variant: str) -> Rendering:
    """The same messages as ones of a variant; by "" they are of none."""
    if not variant:
        return rendering
    return replace(rendering, variant=pa.repeat(pa.scalar(variant, TEXT), len(rendering.keys)))


def _together(made: list[Rendering], order: Ints) -> Rendering:
    """Several renderings as one; `order` takes their messages, one after the other, in turn."""
    at = pa.array(order)
    texts = pa.concat_arrays([each.msg.joined() for each in made])
    keys, country, idremote, msisdn, variant = (
        pa.concat_arrays([getattr(each, name) for each in made]).take(at)
        for name in ("keys", "country", "idremote", "msisdn", "variant")
    )
    return Rendering(
        keys,
        country,
        idremote,
        msisdn,
        made[0].sender,
        Pieced([Encoded(texts, order)], len(order)),
        np.concatenate([each.segments for each in made])[order],
        pa.concat_batches([each.excluded for each in made]).sort_by("row"),
        sum((each.replaced for each in made), Counter[str]()),
        {
            code: np.sort(np.concatenate([each.suspects[code] for each in made]))
            for code in SUSPECTS
        },
        variant,
        _ways(made, at),
    )


def _ways(made: Sequence[Rendering], order: pa.Array) -> pa.Array | None:
    """Which ways the texts' conditions went; those of a text without any went none."""
    if all(each.way is None for each in made):
        return None
    none = pa.scalar("", TEXT)
    ways = [pa.repeat(none, len(each.keys)) if each.way is None else each.way for each in made]
    return pa.concat_arrays(ways).take(order)
