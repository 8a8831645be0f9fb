"""The same DAGs against a plain OpenSSH server, by the real clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo.stack import Stack
from sms.ledger.states import State
from tests.campaign_folder import write_campaign
from tests.journeys.conftest import PEOPLE, TEXT, LiveWorld
from tests.openssh import OpenSsh
from tests.world import connection

YAML = """\
description: Something that was bought is on its way
kind: transactional
sender: JOURNEY
"""


def test_a_campaign_is_sent_through_a_plain_openssh(openssh: OpenSsh, tmp_path: Path) -> None:
    campaigns = tmp_path / "campaigns"
    campaigns.mkdir()
    write_campaign(campaigns / "parcel", YAML, PEOPLE % (1, 3), TEXT)
    own = {"AIRFLOW_CONN_SMS_GATEWAY": connection(openssh, service_id="54321")}

    with Stack(connections=own, changes={"campaigns_folder": str(campaigns)}) as stack:
        world = LiveWorld(stack, campaigns)
        stack.unpause("collect_delivery_report", "collect_replies", "send__parcel")
        run = world.finished(world.trigger("parcel"))

        assert run.state == "success"
        [stem] = world.stems(run)
        assert openssh.settled_names() == [f"{stem}.done"]
        assert openssh.submitted() == [f"{stem}.csv"]
        lines = (openssh.send / f"{stem}.done").read_bytes().split(b"\r\n")
        numbers = [line.split(b";")[1] for line in lines[:-1]]
        assert numbers == [b"+33639980001", b"+33639980002", b"+33639980003"]

        # The report's collection is booked for tomorrow, and nothing waits for it until then.
        submission = stack.ledger.submissions.get(stem)
        assert submission.state is State.ACCEPTED
        booked = stack.airflow.run("collect_delivery_report", f"ack__{stem}")
        assert booked.state == "queued"
        assert booked.run_after == submission.due_at
        assert (booked.note or "").startswith("parcel: The gateway accepted 3 messages in 3 SMS")
        assert submission.due_at - datetime.now(UTC) > timedelta(hours=23)

        ack = [line + b";3;delivered;operator" for line in lines[:-1]]
        name = stem.removeprefix("SEND")
        openssh.put_report(f"ACK{name}.csv", b"\r\n".join(ack) + b"\r\n")
        stop = b"+33639980002;20270302;1015;STOP;" + lines[1].split(b";")[0] + b"\r\n"
        openssh.put_report(f"STOP{name}.csv", stop)
        by_hand = stack.airflow.trigger("collect_delivery_report", {"stem": stem})

        assert world.finished(by_hand).state == "success"
        assert world.replies().state == "success"
        assert stack.ledger.submissions.get(stem).state is State.REPORTED
        assert stack.ledger.submissions.reconcile(stem).delivered == 3
        assert stack.ledger.stop_list.size() == 1
