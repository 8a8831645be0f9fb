"""Only prepared and reviewed bytes are sent, whatever changes in the folder later."""

import pyarrow.parquet as pq
import pytest

from sms.errors import LedgerError
from sms.run.folder import RunFolder
from sms_sandbox import Sandbox
from tests.submitting import opt_out
from tests.world import SANDBOX_ONLY, World, in_send, numbers, renames

pytestmark = SANDBOX_ONLY


def spoil_the_bytes(folder: RunFolder, stem: str) -> None:
    file = folder.send_file(stem)
    file.write_bytes(file.read_bytes().replace(b"samedi", b"lundi!"))


def spoil_the_rows(folder: RunFolder, stem: str) -> None:
    file = folder.messages(stem)
    pq.write_table(pq.read_table(file).slice(1), file)


@pytest.mark.parametrize("spoil", [spoil_the_bytes, spoil_the_rows])
@pytest.mark.parametrize("stopped", [False, True], ids=["as it was", "after a late STOP"])
def test_bytes_changed_after_the_review_are_not_sent(
    world: World, gateway: Sandbox, spoil: object, stopped: bool
) -> None:
    [prepared] = world.prepare(numbers(4))
    spoil(world.run_folder("one"), prepared.stem)  # type: ignore[operator]
    if stopped:
        opt_out(world.ledger, 33639980003)

    if spoil is spoil_the_bytes:
        world.submit(prepared.stem)  # which writes them anew, from the rows
        assert gateway.settled_names() == [f"{prepared.stem}.done"]
        assert b"lundi!" not in (gateway.home / "Send" / f"{prepared.stem}.done").read_bytes()
        return
    with pytest.raises(LedgerError, match="is not what was prepared and reviewed") as refused:
        world.submit(prepared.stem)
    assert not refused.value.retryable
    assert in_send(gateway) == renames(gateway) == []
