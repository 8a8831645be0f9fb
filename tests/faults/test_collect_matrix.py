"""The collectors, interrupted or paused at every one of their effects, and run again.

Whatever was hit: the ledger holds what an untouched run leaves in it, each row once; every report's
bytes lie in the archive; and nothing is gone from the gateway.
"""

from collections.abc import Callable
from datetime import timedelta

import pytest

from sms.ledger.states import State
from tests.faults.collecting import SCENE, append, kept, require_archived
from tests.faults.conftest import Ended, World, Worlds, strike_everywhere
from tests.faults.points import Part, Strike, parts, pauses
from tests.faults.zygote import DONE


@pytest.mark.parametrize("part", parts(3), ids=str)
@pytest.mark.parametrize("act", ["replies", "report"])
def test_a_collector_interrupted_at_any_effect_keeps_its_promises(
    act: str, part: Part, worlds: Worlds, tell: Callable[[str], None]
) -> None:
    with worlds.copy(SCENE) as world:
        untouched = world.play_until_done(act)
        expected = kept(world)
        require_archived(world)
    assert len(expected["report_file"]) == (1 if act == "report" else 2)
    [submission] = expected["submission"]
    assert submission[1] == (State.REPORTED if act == "report" else State.ACCEPTED)

    def tried(strike: Strike, struck: Callable[[World], Ended]) -> bool:
        with worlds.copy(SCENE) as world:
            struck(world)
            assert kept(world) == expected
            require_archived(world)
        return False

    tell(strike_everywhere(act, untouched.names, part, tried))


def grow(world: World) -> None:
    """The provider goes on writing: a STOP more, and an outcome more; and minutes pass."""
    append(world, "STOP", b"+33639980002;20270302;0945;STOP;x\r\n")
    append(world, "ACK", b"x2;+33639980003;TESTS;y;4;refused;op\r\n")
    world.sandbox.move_clock(to=world.sandbox.now() + timedelta(minutes=10))


@pytest.mark.parametrize("act", ["replies", "report"])
def test_a_report_written_during_a_pause_is_read_later(
    act: str, worlds: Worlds, tell: Callable[[str], None]
) -> None:
    with worlds.copy(SCENE) as world:
        untouched = world.play_until_done(act)
        grow(world)
        assert world.play_until_done(act).status == DONE
        expected = kept(world)
        require_archived(world)

    def tried(strike: Strike, struck: Callable[..., Ended]) -> bool:
        with worlds.copy(SCENE) as world:
            struck(world, lambda: grow(world))
            assert world.play_until_done(act).status == DONE
            assert kept(world) == expected
            require_archived(world)
        return False

    tell(strike_everywhere(act, untouched.names, Part(1, 1), tried, pauses))
