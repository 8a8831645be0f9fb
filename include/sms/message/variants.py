"""Variants of a text and the control group, for comparing results.

This module draws the variant of each number, and renders a batch by it. The keys of campaign.yaml
are read in `sms.campaign`, the pieces of a text are rendered in `sms.message.rendering`.

The draw is a hash of the campaign's name and the number. Nothing is stored, and a number has the
same variant in every run, in any order of rows. The control group and the variants are drawn
independently.
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

WORDS = 2**64  # number of possible draws


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Draws a share of all numbers; a larger share includes every smaller one."""

    campaign: str
    share: Fraction

    def __call__(self, msisdns: Ints) -> Flags:
        """Which of these numbers are in the control group."""
        drawn: Flags = scattered(msisdns, f"holdout\0{self.campaign}") < _bound(self.share)
        return drawn


@dataclass(frozen=True)
class Assignment:
    """Draws a variant for each number, by weights that sum to 1.

    Each variant has an interval of all draws, in the order of names. If weights change, the bounds
    move, and only the numbers between an old and a new bound change their variant.
    """

    campaign: str
    weights: Mapping[str, Fraction]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The variants, in the order of the indexes in `of`."""
        return tuple(sorted(self.weights))

    def of(self, msisdns: Ints) -> Ints:
        """For each number, the index of its variant in `names`."""
        ends = list(accumulate(self.weights[name] for name in self.names))[:-1]
        bounds = np.array([_bound(end) for end in ends], np.uint64)
        drawn = scattered(msisdns, f"variant\0{self.campaign}")
        which: Ints = np.searchsorted(bounds, drawn, side="right").astype(np.int64)
        return which


def _bound(share: Fraction) -> np.uint64:
    """The upper bound of the first `share` of all draws."""
    return np.uint64(int(share * WORDS))


@dataclass(frozen=True)
class Texts:
    """The variants' texts, with the properties of one `Template` for all of them.

    A gap in a column that any text needs excludes a row from all variants: else the variants would
    have different kinds of recipients.
    """

    by_variant: Mapping[str, Template]

    @property
    def path(self) -> str:
        """The texts' files, for an error in any of them."""
        first, *others = (Path(text.path) for text in self.by_variant.values())
        return " or ".join([str(first), *(path.name for path in others)])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that any text uses."""
        named = (name for text in self.by_variant.values() for name in text.columns)
        return tuple(dict.fromkeys(named))

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that must be filled in every row."""
        named = (name for text in self.by_variant.values() for name in text.needed)
        return tuple(dict.fromkeys(named))

    @property
    def conditions(self) -> dict[int, Condition]:
        """The conditions of the first text that has any."""
        return next((text.conditions for text in self.by_variant.values() if text.conditions), {})

    @property
    def notes(self) -> tuple[DocumentFault, ...]:
        """Warnings on all texts: placeholders of other tools."""
        return tuple(
            DocumentFault(note.line, f"{Path(text.path).name}: {note.problem}")
            for text in self.by_variant.values()
            for note in text.notes
        )

    @property
    def computed(self) -> tuple[str, ...]:
        """The columns that any text computes with."""
        named = (name for text in self.by_variant.values() for name in text.computed)
        return tuple(dict.fromkeys(named))

    def broken_by(self, kinds: Mapping[str, ValueKind]) -> list[BadCampaign]:
        """The errors of expressions that fail on values of these kinds, or are never true."""
        return [each for text in self.by_variant.values() for each in text.broken_by(kinds)]

    @property
    def slow_because(self) -> str | None:
        """Why some texts can't be rendered as columns, None if all can."""
        reasons = [
            f"{Path(text.path).name}, {text.slow_because}"
            for text in self.by_variant.values()
            if text.slow_because
        ]
        return "; ".join(reasons) or None


@dataclass(frozen=True)
class VariantRenderer:
    """Renders an audience, each recipient with the text of its variant."""

    assignment: Assignment
    renderers: Mapping[str, Renderer]

    def render(self, audience: pa.RecordBatch) -> Rendering:
        """The messages of a batch, as `Renderer.render`, in the order of rows."""
        which = self.assignment.of(audience["msisdn"].to_numpy())
        renderings, places = [], []
        for place, name in enumerate(self.assignment.names):
            rows = np.flatnonzero(which == place)
            some = audience.take(pa.array(rows))
            rendering = named(self.renderers[name].render(some), name)
            left_out = rendering.excluded["row"].to_numpy()
            places.append(rows[~np.isin(some["row"].to_numpy(), left_out)])
            renderings.append(rendering)
        return _together(renderings, np.argsort(np.concatenate(places)))


def named(rendering: Rendering, variant: str) -> Rendering:
    """The same messages with the variant's name; "" means no variant."""
    if not variant:
        return rendering
    return replace(rendering, variant=pa.repeat(pa.scalar(variant, TEXT), len(rendering.keys)))


def _together(renderings: list[Rendering], order: Ints) -> Rendering:
    """Join several renderings; `order` sorts their concatenated messages."""
    at = pa.array(order)
    texts = pa.concat_arrays([each.msg.joined() for each in renderings])
    keys, country, idremote, msisdn, variant = (
        pa.concat_arrays([getattr(each, name) for each in renderings]).take(at)
        for name in ("keys", "country", "idremote", "msisdn", "variant")
    )
    return Rendering(
        keys,
        country,
        idremote,
        msisdn,
        renderings[0].sender,
        Pieced([Encoded(texts, order)], len(order)),
        np.concatenate([each.segments for each in renderings])[order],
        pa.concat_batches([each.excluded for each in renderings]).sort_by("row"),
        sum((each.replaced for each in renderings), Counter[str]()),
        {
            code: np.sort(np.concatenate([each.suspects[code] for each in renderings]))
            for code in SUSPECTS
        },
        variant,
        _ways(renderings, at),
    )


def _ways(renderings: Sequence[Rendering], order: pa.Array) -> pa.Array | None:
    """The branches taken by the texts' conditions; "" for a text without conditions."""
    if all(each.way is None for each in renderings):
        return None
    none = pa.scalar("", TEXT)
    ways = [
        pa.repeat(none, len(each.keys)) if each.way is None else each.way for each in renderings
    ]
    return pa.concat_arrays(ways).take(order)
