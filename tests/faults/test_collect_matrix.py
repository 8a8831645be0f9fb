"""The collectors, interrupted or paused at every one of their effects, and run again.

Whatever was hit: the ledger holds what an untouched run leaves in it, each row once; every report's
bytes lie in the archive; and nothing is gone from the gateway.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from sms.ledger.states import State
from tests.faults.collecting import SCENE, append, kept, require_archived
from tests.faults.conftest import Ended, Target, Targets, strike_everywhere
from tests.faults.points import Part, Strike, parts, pauses
from tests.faults.zygote import DONE


@pytest.mark.parametrize("part", parts(3), ids=str)
@pytest.mark.parametrize("act", ["replies", "report"])
def test_a_collector_interrupted_at_any_effect_keeps_its_promises(
    act: str, part: Part, targets: Targets, tell: Callable[[str], None]
) -> None:
    with targets.copy(SCENE) as target:
        untouched = target.play_until_done(act)
        expected = kept(target)
        require_archived(target)
    assert len(expected["report_file"]) == (1 if act == "report" else 2)
    [submission] = expected["submission"]
    assert submission[1] == (State.REPORTED if act == "report" else State.ACCEPTED)

    def tried(strike: Strike, struck: Callable[[Target], Ended]) -> bool:
        with targets.copy(SCENE) as target:
            struck(target)
            assert kept(target) == expected
            require_archived(target)
        return False

    tell(strike_everywhere(act, untouched.names, part, tried))


def grow(target: Target) -> None:
    """The provider goes on writing: a STOP more, and an outcome more; and minutes pass."""
    append(target, "STOP", b"+33639980002;20270302;0945;STOP;x\r\n")
    append(target, "ACK", b"x2;+33639980003;TESTS;y;4;refused;op\r\n")
    target.sandbox.move_clock(to=target.sandbox.now() + timedelta(minutes=10))


@pytest.mark.parametrize("act", ["replies", "report"])
def test_a_report_written_during_a_pause_is_read_later(
    act: str, targets: Targets, tell: Callable[[str], None]
) -> None:
    with targets.copy(SCENE) as target:
        untouched = target.play_until_done(act)
        grow(target)
        assert target.play_until_done(act).status == DONE
        expected = kept(target)
        require_archived(target)

    def tried(strike: Strike, struck: Callable[..., Ended]) -> bool:
        with targets.copy(SCENE) as target:
            struck(target, lambda: grow(target))
            assert target.play_until_done(act).status == DONE
            assert kept(target) == expected
            require_archived(target)
        return False

    tell(strike_everywhere(act, untouched.names, Part(1, 1), tried, pauses))
