"""The parts of a crash matrix, for runs in several processes."""

from tests.faults.points import Strike, parts, strikes

LOOK = "sftp read listing of a trigger"
NAMES = [*["commit", "sftp rename", LOOK, "file .csv"] * 9, *[LOOK] * 7]


def chosen(names: list[str]) -> list[list[Strike]]:
    """The strikes of each of six parts."""
    return [[strike for strike in strikes(names) if strike in part] for part in parts(6)]


def test_every_strike_is_in_exactly_one_part():
    found = chosen(NAMES)
    together = [strike for part in found for strike in part]
    assert sorted(together, key=str) == sorted(strikes(NAMES), key=str)
    assert max(map(len, found)) <= 1.5 * min(map(len, found))


def test_an_extra_listing_moves_no_strike_between_parts():
    for fewer, more in zip(chosen(NAMES), chosen([LOOK, *NAMES]), strict=True):
        assert {*fewer} <= {*more}
