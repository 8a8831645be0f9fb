"""A broken campaign folder is reported quickly and leaves the other campaigns intact."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms import yaml_files
from sms.campaign import template
from sms.campaign.definition import Campaign, CampaignFile, load, load_all
from sms.errors import BadCampaign
from tests.broken_folders import GOOD, LABELS, make, make_good

LONGEST = 12_000  # characters of one folder's sentence


def told(root: Path) -> str:
    """What is told of the one folder beside the good one, which is there."""
    campaigns, [error] = load_all(root)
    assert [campaign.name for campaign in campaigns] == ["good"]
    str(error).encode()  # may be printed and stored
    assert len(str(error)) < LONGEST
    return str(error)


@pytest.mark.parametrize("label", LABELS)
def test_a_broken_folder_is_reported_and_hides_no_other(tmp_path, label):
    root = tmp_path / "campaigns"
    make_good(root)
    folder, said = make(label, root)
    began = time.process_time()

    sentence = told(root)

    assert time.process_time() - began < 2
    assert str(folder) in sentence
    assert any(part in sentence for part in said.split("|")), sentence


def test_all_broken_folders_together_take_seconds(tmp_path):
    make_good(tmp_path / "campaigns")
    for label in LABELS:
        make(label, tmp_path / "campaigns")
    began = time.process_time()

    campaigns, broken = load_all(tmp_path / "campaigns")

    assert time.process_time() - began < 10
    assert [campaign.name for campaign in campaigns] == ["good"]
    assert len(broken) == len(LABELS)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-02-30", "2026-02-30"),
        ("2026-02-28", "2026-02-28"),
        ("2026-13-45T99:99:99Z", "2026-13-45T99:99:99Z"),
        ("0000-00-00", "0000-00-00"),
    ],
)
def test_a_date_is_text_whether_or_not_it_exists(tmp_path, written, read):
    folder = make_good(tmp_path)
    (folder / "campaign.yaml").write_text(f"{GOOD['campaign.yaml']}description: {written}\n")

    assert load(folder).description == read


@pytest.mark.parametrize("raised", [ValueError, RecursionError, MemoryError, OverflowError])
@pytest.mark.parametrize(
    ("where", "what"),
    [
        (yaml_files, "_load"),
        (yaml_files, "_plain"),
        (template, "_too_much"),
        (template._JINJA, "compile"),
        (Campaign, "__init__"),
    ],
)
def test_no_exception_leaves_a_folder(tmp_path, monkeypatch, raised, where, what):
    folder = make_good(tmp_path)

    def fail(*_: Any, **__: Any) -> None:
        raise raised("+33639980001")

    monkeypatch.setattr(where, what, fail)
    with pytest.raises(BadCampaign) as caught:
        load(folder)

    assert f"({raised.__name__})" in str(caught.value)
    assert "33639980001" not in str(caught.value)


def test_a_link_within_the_folder_is_followed(tmp_path):
    folder = make_good(tmp_path)
    (folder / "..data").mkdir()
    (folder / "message.txt").rename(folder / "..data" / "message.txt")
    (folder / "message.txt").symlink_to("..data/message.txt")  # as Kubernetes mounts files

    assert load(folder).text == GOOD["message.txt"]


def test_a_link_to_the_campaigns_root_is_followed(tmp_path):
    make_good(tmp_path / "checkout")
    (tmp_path / "current").symlink_to("checkout")

    campaigns, broken = load_all(tmp_path / "current")

    assert ([campaign.name for campaign in campaigns], broken) == (["good"], [])


def test_an_undecodable_folder_name_is_reported_in_storable_text(tmp_path):
    make_good(tmp_path)
    os.rename(make_good(tmp_path, "broken"), os.fsencode(tmp_path) + b"/brok\xe9n\n")

    sentence = told(tmp_path)

    assert r"brok\udce9n\n" in sentence
    assert "is no name for a campaign" in sentence


@contextmanager
def anybody() -> Iterator[None]:
    """A user for whom permissions count; they don't for root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may read; pytest's own may not be."""
    folder = Path(tempfile.mkdtemp(prefix="sms-campaigns-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["", *GOOD])
def test_an_unreadable_file_is_reported(public, name):
    make_good(public)
    closed = make_good(public, "closed") / name
    closed.chmod(0)

    with anybody():
        sentence = told(public)

    closed.chmod(0o700)
    assert f"{closed}" in sentence
    assert "can't be read (Permission denied)" in sentence


def test_an_unreadable_campaigns_root_is_reported(public):
    make_good(public)
    public.chmod(0)

    with anybody():
        campaigns, [error] = load_all(public)

    public.chmod(0o755)
    assert campaigns == []
    assert "can't be read (Permission denied)" in str(error)


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
LIKELY = st.sampled_from(
    [
        *("50%", "9" * 30 + "%", "2 per 7 days", "always", "FR", "+33639980001", "10 minutes"),
        *("9" * 30 + " days", "0 9 * * *", "@daily", "10:30", "message.txt", "STOP 36180", ""),
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**40), 10**40),
    st.floats(),
    LIKELY,
    ANY_TEXT,
    st.binary(max_size=10),
    st.dates(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(LIKELY | ANY_TEXT, inner, max_size=4)
    ),
    max_leaves=8,
)
KEYS = st.sampled_from(sorted(CampaignFile.model_fields))


def written(value: object) -> str:
    """A value as YAML in one line, though not always good YAML."""
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{written(key)}: {written(each)}" for key, each in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        escaped = value.encode("ascii", "backslashreplace").decode().replace('"', '\\"')
        return f'"{escaped}"'
    return "~" if value is None else str(value)


@pytest.fixture(scope="module")
def sale(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good folder that each example writes into."""
    return make_good(tmp_path_factory.mktemp("campaigns"))


def read_or_told(folder: Path, name: str, content: str) -> None:
    """Load the folder with a file changed: it is a campaign, or a sentence that can be stored."""
    for file, good in GOOD.items():
        (folder / file).write_text(good)
    (folder / name).write_bytes(content.encode(errors="surrogatepass"))
    campaigns, broken = load_all(folder.parent)
    assert len(campaigns) + len(broken) == 1
    for error in broken:
        assert "\0" not in str(error)
        str(error).encode()
    for campaign in campaigns:
        campaign.model_dump_json().encode()
        assert "\\u0000" not in campaign.model_dump_json()


@settings(max_examples=400, derandomize=True, deadline=2_000)
@given(key=KEYS, value=VALUES)
def test_every_value_of_every_key_is_read_or_reported(sale, key, value):
    kept = [line for line in GOOD["campaign.yaml"].splitlines() if not line.startswith(f"{key}:")]

    read_or_told(sale, "campaign.yaml", "\n".join([*kept, f"{key}: {written(value)}", ""]))


@settings(max_examples=200, derandomize=True, deadline=2_000)
@given(st.dictionaries(KEYS | ANY_TEXT, VALUES, max_size=12))
def test_every_python_value_is_checked(values):
    reading = yaml_files._validated(values, CampaignFile)

    assert reading.value or reading.faults


YAML_SIGNS = st.sampled_from(
    [*"-?:,[]{}#&*!|>'\"%@`~ \n\t0ax", "\n  ", "\n- ", ": ", "kind", "<<: ", "!!int ", "&a ", "*a"]
)
JINJA_SIGNS = st.sampled_from(
    [
        *("{{ ", " }}", "{% ", " %}", "{#", "#}", "for a in b", "endfor", "if a", "endif", "else"),
        *("set a", " = ", "a", "1", "'x'", "'", "(", ")", "[", "]", ".", ",", "|", " | upper", "~"),
        *("* 9999", "** 9999", "+", "-", " not ", " is ", " in ", "macro m(a)", "call m()", "raw"),
        *("block b", "include 'x'", "range(9999)", "loop", "self", "autoescape 1", "\n", "é", "😀"),
    ]
)


def joined(signs: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Text of those signs, and any other."""
    return st.lists(signs | ANY_TEXT, max_size=30).map("".join)


@settings(max_examples=300, derandomize=True, deadline=2_000)
@given(joined(YAML_SIGNS))
def test_any_yaml_is_read_or_reported(sale, text):
    read_or_told(sale, "campaign.yaml", text)


@settings(max_examples=300, derandomize=True, deadline=2_000)
@given(joined(JINJA_SIGNS))
def test_any_text_is_read_or_reported(sale, text):
    read_or_told(sale, "message.txt", text)

    if template.faults(text) == ():
        template.Template(text)


@settings(max_examples=100, derandomize=True, deadline=2_000)
@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=200))
def test_any_bytes_are_read_or_reported(sale, name, content):
    read_or_told(sale, name, content.decode(errors="surrogateescape").replace("\udc80", ""))


def test_checking_stops_at_the_number_of_reported_faults():
    reading = yaml_files.read("".join(f"key{n}: 1\n" for n in range(900)), CampaignFile)

    assert len(reading.faults) == yaml_files.MOST_FAULTS + 1
