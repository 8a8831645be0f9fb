"""Broken campaign folders, one for each known fault, each with a part of its sentence.

Many of them hid all other campaigns or kept the process busy; the rest are close to one that did.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

GOOD = {
    "campaign.yaml": "kind: marketing\nsender: LUMIERE\nstop_mention: STOP 36180\n",
    "recipients.sql": "SELECT 1 AS key, '+33639980001' AS msisdn\n",
    "message.txt": "Bonjour {{ first_name }} !\n",
}
KIB = 1024
BOMB = "a0: &a0 [x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)

# By label: what is added to a good campaign.yaml, and what is told of it.
YAML = {
    "an impossible integer": ("max_segments: !!int abc", "tags (`!`) are not read"),
    "an impossible float": ("budget: !!float abc", "tags (`!`) are not read"),
    "an impossible timestamp": ("tags: [!!timestamp 9]", "tags (`!`) are not read"),
    "a set": ("tags: !!set {a, b}", "tags (`!`) are not read"),
    "bytes": ("description: !!binary aGVsbG8=", "tags (`!`) are not read"),
    "a Python object": ("description: !!python/name:os.system", "tags (`!`) are not read"),
    "a tag of its own": ("description: !mine x", "tags (`!`) are not read"),
    "5,000 digits": (f"max_segments: {'1' * 5_000}", "longer than 4,096 characters"),
    "4,000 digits": (f"max_segments: {'1' * 4_000}", "a number has more than 18 digits"),
    "900 digits in a key": (f"{'1' * 900}: x", "a number has more than 18 digits"),
    "4,000 hexadecimal digits": (f"budget: 0x{'f' * 4_000}", "a number has more than 18 digits"),
    "a decimal of 4,000 digits": (f"budget: {'1' * 4_000}.5", "finite number"),
    "a budget without end": ("budget: .inf", "finite number"),
    "a budget that is no number": ("budget: .nan", "budget:"),
    "a share of 4,000 digits": (f"max_growth: {'1' * 4_000}%", "is no share"),
    "a span of 4,000 digits": (f"spread_over: {'1' * 4_000} hours", "longer than any calendar"),
    "a frequency of nothing": ("frequency_cap: [0, -7]", "is no frequency"),
    "a frequency of ages": ("frequency_cap: [2, 999999999999]", "is no frequency"),
    "a list within itself": ("tags: &a [*a]", "anchors (`&`) and aliases (`*`) are not read"),
    "a mapping within itself": ("variants: &a {a: *a}", "anchors (`&`) and aliases (`*`)"),
    "a merge of itself": ("variants: &a\n  <<: *a", "anchors (`&`) and aliases (`*`)"),
    "a merge of a number": ("<<: 3", "can't be read|is not YAML"),
    "an alias that goes nowhere": ("description: *sale", "needs quotes around it"),
    "a bomb of aliases": (BOMB, "anchors (`&`) and aliases (`*`) are not read"),
    "3,000 brackets": (f"tags: {'[' * 3_000}", "nested more than 10 deep"),
    "3,000 closed brackets": (f"tags: {'[' * 3_000}{']' * 3_000}", "nested more than 10 deep"),
    "3,000 braces": (f"tags: {'{' * 3_000}", "nested more than 10 deep"),
    "3,000 dashes": (f"tags:\n{'- ' * 3_000}x", "nested more than 10 deep"),
    "300 steps of indentation": (
        "".join(f"{' ' * n}a:\n" for n in range(300)),
        "nested more than 10 deep",
    ),
    "30,000 values": (f"tags: [{'a,' * 30_000}]", "holds more than 2,000 values"),
    "900 tags that are none": (f"tags: [{'{},' * 900}]", "880 more faults"),
    "900 unknown keys": ("".join(f"key{n}: 1\n" for n in range(900)), "880 more faults"),
    "a long value": (f"description: {'x' * 60_000}", "longer than 4,096 characters"),
    "a long value of words": (f"description: {'x ' * 30_000}", "longer than 4,096 characters"),
    "a long key": (f"{'x' * 5_000}: 1", "is not YAML|longer than 4,096"),
    "a long mention": (f"stop_mention: {'stop ' * 800}", "does not say how to opt out"),
    "a long owner": (f"owner: {'x' * 101}", "at most 100 characters"),
    "a long tag": (f"tags: [{'x' * 101}]", "at most 100 characters"),
    "a long schedule": (f'schedule: "0 9 * * 1{",1" * 900}"', "longer than 100 characters"),
    "a schedule of four thousand million minutes": (
        'schedule: "1-4000000000 * * * *"',
        "is no cron schedule",
    ),
    "a NUL": (r'description: "a\0b"', r"a value holds '\x00'"),
    "a NUL in a key": (r'"a\0b": 1', r"a value holds '\x00'"),
    "an escape": (r'owner: "a\eb"', r"a value holds '\x1b'"),
    "half a character": (r'description: "\ud83d"', r"a value holds '\ud83d'"),
    "a NUL as such": ("description: a\0b", "holds the control character"),
    "two documents": ("---\na: 1", "is not YAML"),
    "a directive": ("...\n%YAML 9.9\n---\n", "is not YAML|can't be read"),
    "a mapping as a key": ("{a: b}: c", "is no known key"),
    "a list as a key": ("? [a, b]\n: c", "is no known key"),
    "nothing as a key": ("~: c", "is no known key"),
}

# By label: a message.txt, and what is told of it.
TEXT = {
    "25 loops in each other": (
        "{% for a in b %}" * 25 + "x" + "{% endfor %}" * 25,
        "too many statically nested blocks",
    ),
    "60 conditions in each other": (
        "{% if a %}" * 60 + "x" + "{% endif %}" * 60,
        "nested more than 50 deep",
    ),
    "a keyword argument twice": ("{{ a | replace(old=1, old=2) }}", "keyword argument repeated"),
    "a macro's argument twice": ("{% macro m(a, a) %}{% endmacro %}", "duplicate argument"),
    "5,000 parentheses": ("{{ " + "(" * 5_000 + ")" * 5_000 + " }}", "more than 2,000 words"),
    "900 parentheses": ("{{ " + "(" * 900 + "1" + ")" * 900 + " }}", "write it more simply"),
    "900 signs": ("{{ " + "-" * 900 + "1 }}", "write it more simply"),
    "900 times not": ("{{ " + "not " * 900 + "1 }}", "write it more simply"),
    "900 sums": ("{{ " + "1 + " * 450 + "1 }}", "write it more simply"),
    "900 filters": ("{{ a" + " | upper" * 450 + " }}", "nested more than 50 deep"),
    "900 attributes": ("{{ a" + ".a" * 900 + " }}", "nested more than 50 deep"),
    "200 choices": ("{{ " + "1 if a else " * 200 + "1 }}", "nested more than 50 deep"),
    "1,000 branches": ("{% if a %}" + "{% elif a %}" * 1_000 + "{% endif %}", "2,000 words"),
    "9,000 columns": ("{{ a }}" * 9_000, "more than 2,000 words of logic"),
    "60,000 brackets of Jinja's": ("{{" * 30_000, "more than 2,000 words of logic"),
    "5,000 digits": ("{{ " + "1" * 5_000 + " }}", "write it more simply"),
    "60,000 hexadecimal digits": ("{{ 0x" + "f" * 60_000 + " }}", "write it more simply|above"),
    "a long unknown filter": ("{{ a | " + "x" * 60_000 + " }}", "No filter named"),
    "a text of 4 GB": ("{{ 'a' * 4000000000 }}", "a number above 1,000,000,000"),
    "a width of 4 GB": ("{{ 'a' | center(4000000000) }}", "a number above 1,000,000,000"),
    "a list of 32 GB": ("{% for a in [1] * 4000000000 %}{% endfor %}", "a number above"),
    "a setting of 4 GB": ("{% set a = 'a' * 4000000000 %}x", "a number above 1,000,000,000"),
    "a default of 4 GB": ("{% macro m(a='a' * 4000000000) %}{% endmacro %}x", "a number above"),
    "an escape of 4 GB": (
        "{% autoescape 'a' * 4000000000 %}x{% endautoescape %}",
        "uses autoescape, which is for web pages",
    ),
    "a parent of 4 GB": ("{% extends 'a' * 4000000000 %}", "includes another file"),
    "half a character": (r"{{ '\ud83d' }}", r"writes '\ud83d', which no phone shows"),
    "a NUL": (r"{{ '\0' }}", r"writes '\x00', which no phone shows"),
    "a NUL as such": ("Bonjour\n\0", r"line 2: holds the control character '\x00'"),
    "more than a phone shows": ("x" * 64 * KIB + "x", "is larger than 64 KiB"),
}


def _in_place_of(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """Make something else where one of the folder's files was."""

    def put(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return put


def _socket(path: Path) -> None:
    # Bound by a short name: that of a socket has no more than about a hundred characters.
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as bound:
        os.chdir(path.parent)
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


def _gigabyte(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def _link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def _variant(file: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        (folder / "message.txt").rename(folder / "warm.txt")
        with (folder / "campaign.yaml").open("a") as written:
            written.write(f"variants: {{warm: {{text: warm.txt}}, cool: {{text: {file}}}}}\n")
        make(folder / file)

    return put


def _folder_that_is_a_link(folder: Path) -> None:
    elsewhere = folder.parent.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    folder.rename(elsewhere / folder.name)
    folder.symlink_to(elsewhere / folder.name)


def _link_instead(target: str) -> Callable[[Path], None]:
    def put(folder: Path) -> None:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        folder.symlink_to(target)

    return put


def _through_a_folder_that_is_a_link(folder: Path) -> None:
    outside = folder.parent.parent / "outside"
    with suppress(FileExistsError):
        outside.mkdir()
    (outside / "message.txt").write_text("Bonjour !")
    (folder / "message.txt").unlink()
    (folder / "texts").symlink_to(outside)
    (folder / "message.txt").symlink_to("texts/message.txt")


# By label: what is done to a good folder, and what is told of it.
FILES = {
    **{
        f"{kind} as {name}": (_in_place_of(name, make), said)
        for name in GOOD
        for kind, make, said in (
            ("a pipe", os.mkfifo, "is a named pipe, and no file"),
            ("a folder", os.mkdir, "is a folder, and no file"),
            ("a socket", _socket, "is a socket, and no file"),
            ("an endless device", _link_to("/dev/zero"), "is a link out of the campaign's folder"),
            ("a password", _link_to("/etc/passwd"), "is a link out of the campaign's folder"),
            ("a link to itself", _link_to(name), "can't be read"),
            ("a gigabyte", _gigabyte, "is larger than"),
        )
    },
    "a pipe as a variant's text": (_variant("cool.txt", os.mkfifo), "is a named pipe"),
    "a variant's text outside": (
        _variant("cool.txt", _link_to("/etc/passwd")),
        "is a link out of the campaign's folder",
    ),
    "a variant's name without end": (
        _variant("x" * 300 + ".txt", lambda path: None),
        "can't be read",
    ),
    "a file behind a folder's link": (
        _through_a_folder_that_is_a_link,
        "is a link out of the campaign's folder",
    ),
    "a folder elsewhere": (_folder_that_is_a_link, "is a link out of"),
    "a link to nothing": (_link_instead("/nowhere/at/all"), "is a link to nothing"),
    "a link in a circle": (_link_instead("broken_in_a_circle"), "can't be read"),
    "a device's folder": (_link_instead("/dev"), "is a link out of"),
    "a query of open comments": (
        lambda folder: (folder / "recipients.sql").write_text("/* " * 340_000),
        "holds no query",
    ),
}


def make_good(root: Path, name: str = "good") -> Path:
    """A campaign's folder in which nothing is wrong."""
    folder = root / name
    folder.mkdir(parents=True)
    for file, content in GOOD.items():
        (folder / file).write_text(content)
    return folder


def _made(label: str, root: Path, number: int) -> tuple[Path, str]:
    name = "broken_in_a_circle" if label == "files: a link in a circle" else f"broken_{number:03}"
    folder = make_good(root, name)
    kind, _, rest = label.partition(": ")
    if kind == "yaml":
        added, said = YAML[rest]
        keys = [line.split(":")[0] for line in added.splitlines()]
        kept = [
            line for line in GOOD["campaign.yaml"].splitlines() if line.split(":")[0] not in keys
        ]
        (folder / "campaign.yaml").write_text("\n".join([*kept, added, ""]))
    elif kind == "text":
        text, said = TEXT[rest]
        (folder / "message.txt").write_text(text)
    else:
        change, said = FILES[rest]
        change(folder)
    return folder, said


LABELS = [
    *(f"yaml: {label}" for label in YAML),
    *(f"text: {label}" for label in TEXT),
    *(f"files: {label}" for label in FILES),
]


def make(label: str, root: Path) -> tuple[Path, str]:
    """The broken folder of a label, and what is told of it: parts, any of which is enough, by |."""
    return _made(label, root, LABELS.index(label))
