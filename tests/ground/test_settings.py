"""The operator's settings file lists every default, and its mistakes are reported with a line."""

from datetime import time, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from upath import UPath

from sms import settings
from sms.errors import ConfigurationError
from sms.settings import Settings, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return path


def test_the_projects_file_lists_every_setting_with_its_default():
    document = YAML().load(settings.DEFAULT_PATH.read_text())

    assert list(document) == list(Settings.model_fields)
    assert load() == Settings()


def test_every_setting_is_explained_above_itself():
    lines = settings.DEFAULT_PATH.read_text().splitlines()

    for key in Settings.model_fields:
        row = next(row for row, line in enumerate(lines) if line.startswith(f"{key}:"))
        above = lines[row - 1]
        assert above.startswith("# ") or key == "window_end", key


def test_another_settings_file_keeps_the_defaults_it_omits(tmp_path, monkeypatch):
    path = written(tmp_path, 'window_end: "20:30"\nmax_delay: 1 hour\n')
    monkeypatch.setenv("SMS_SETTINGS", str(path))

    changed = load()

    assert changed.window_end == time(20, 30)
    assert changed.max_delay == timedelta(hours=1)
    assert changed.model_dump(exclude={"window_end", "max_delay"}) == Settings().model_dump(
        exclude={"window_end", "max_delay"}
    )


def test_an_empty_file_is_all_defaults(tmp_path):
    assert load(written(tmp_path, "# nothing\n")) == Settings()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('window_end: "22:01"', "you can only end earlier"),
        ('window_end: "08:00"', "leaves no open hour"),
        ('window_start: "07:59"', "you can only start later"),
        ("window_end: late", 'write "HH:MM"'),
        ("max_delay: 10", "write a number and seconds, minutes, hours or days"),
        ("max_delay: 1 fortnight", "write a number and seconds"),
        ("max_recipients_per_file: 1000001", "between 1 and 1000000"),
        ("max_recipients_per_file: 0", "between 1 and 1000000"),
        ("stop_list_minimum: -1", "greater than or equal to 0"),
        ("verdict_poll: 0", "greater than 0"),
        ("close_after: 26 days", "not between 5 and 25"),
        ("close_after: 4 days", "not between 5 and 25"),
        ("run_retention: 30 days", "too short"),
        ("archive_retention: 30 days", "too short"),
        ("personal_data_retention: 30 days", "too short"),
        ("encoding: utf-16", "'utf-16' is none of"),
        ("delimiter_in_text: drop", "is none of 'quote', 'replace' or 'refuse'"),
        ("long_sms: perhaps", "'perhaps' is neither true nor false: write one of them"),
        ("prices: 0.045", "0.045 holds no pairs"),
        ("prices: {FR: 0,045}", "prices.45: is no country's code: are decimals written with a"),
        ("prices: {fr: 0.045}", "prices.fr: 'fr' is no country's code: write two capital letters"),
        ("currency: euro", "write three capital letters (ISO 4217), as EUR"),
        ("messages_per_hour: 10 000", "write it without marks between the digits, 10000"),
        ("longsms: true", "did you mean long_sms?"),
        ("runs_folder: ''", "names no folder"),
    ],
)
def test_a_mistake_is_reported_with_file_and_line(tmp_path, line, said):
    path = written(tmp_path, f"# settings\nunicode: false\n{line}\n")

    with pytest.raises(ConfigurationError) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}, line 3: {line.split(':')[0]}")
    assert said in str(caught.value)


def test_a_missing_named_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("SMS_SETTINGS", str(tmp_path / "gone.yaml"))

    with pytest.raises(ConfigurationError, match="correct or unset SMS_SETTINGS"):
        load()


def test_a_relative_folder_starts_at_the_project(tmp_path):
    made = load(written(tmp_path, "runs_folder: my runs\narchive_folder: s3://bucket/sms/\n"))

    assert made.runs_folder == f"file://{settings.ROOT}/my runs"
    assert Path(UPath(made.runs_folder).path) == settings.ROOT / "my runs"
    assert made.archive_folder == "s3://bucket/sms"


def test_an_absolute_folder_is_kept_with_its_spaces(tmp_path):
    made = load(written(tmp_path, f"runs_folder: {tmp_path}/a b\n"))

    UPath(made.runs_folder).mkdir()
    assert (tmp_path / "a b").is_dir()
