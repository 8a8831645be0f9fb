"""The Dockerfile's base image and contents."""

import re

from tests.compose import image
from tests.compose.reading import ROOT, ComposeFile


def requirement(name: str) -> str:
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{name}==(\S+)", text, re.MULTILINE)
    assert found
    return found[1]


def test_the_base_is_the_required_airflows_official_image(compose: ComposeFile):
    airflow = requirement("apache-airflow")

    assert image.instructions("FROM") == [f"apache/airflow:{airflow}-python3.11"]
    assert compose.services["airflow-init"]["image"] == f"sms-campaigns:{airflow}"


def test_the_requirements_cannot_change_the_images_airflow():
    install = next(line for line in image.instructions("RUN") if "requirements.txt" in line)

    assert '"apache-airflow==${AIRFLOW_VERSION}"' in install


def test_nothing_runs_as_root():
    assert image.instructions("USER") == ["airflow"]


def test_what_is_copied_exists_and_is_not_ignored():
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert image.copied()
    for source, _ in image.copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore, source


def test_every_named_volume_has_a_folder_in_the_image(compose: ComposeFile):
    # A folder that Docker has to make itself belongs to root, and nobody here is root.
    made = {
        f"/opt/airflow/{folder}"
        for line in image.instructions("RUN")
        if line.startswith("mkdir")
        for folder in line.split()[2:]
    }

    for name, service in compose.services.items():
        for spec in service.get("volumes", []):
            source, target = spec.split(":")[:2]
            if name != "postgres" and not source.startswith("."):
                assert target in made, f"{name}: {spec}"
