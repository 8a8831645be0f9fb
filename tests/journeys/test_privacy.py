"""What all journeys leave in Airflow, once they have ended."""

from tests.journeys.conftest import NUMBER, World


def test_airflow_never_saw_a_number_or_a_text(world: World) -> None:
    assert world.ensemble
    world.ensemble.wait()
    logs = "\n".join(
        file.read_text(errors="replace")
        for file in (world.stack.folder / "airflow" / "logs").rglob("*.log")
    )
    with world.stack.postgres.connect("airflow") as database:
        xcoms = database.execute("SELECT value::text FROM xcom").fetchall()
        kept = "\n".join(str(value) for (value,) in xcoms)

    assert "SEND-12345-" in logs
    assert "SEND-12345-" in kept
    for place in (logs, kept):
        assert not NUMBER.search(place)
        assert "Bonjour Léa" not in place
