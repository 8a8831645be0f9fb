"""Our files are readable only by their owner, and disk errors are one sentence."""

import ast
import errno
import io
import os
import pickle
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from upath import UPath

from sms import storage
from sms.columnar import parquet
from sms.errors import StorageFailed, StorageGone
from sms.reports import archive
from sms.wire.names import ReportKind
from tests.columnar.batches import texts
from tests.disks import Disk, small_disk

OURS = Path(storage.__file__).parent


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077], ids=oct, autouse=True)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", monkeypatch) as disk:
        yield disk


def test_files_and_folders_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "one"

    storage.make_folder(folder)
    storage.write_text(folder / "text", "é")
    parquet.write(folder / "rows", [texts(a=["1"])])

    assert (mode(folder.parent), mode(folder)) == (0o700, 0o700)
    assert (mode(folder / "text"), mode(folder / "rows")) == (0o600, 0o600)
    assert storage.read_text(folder / "text") == "é"


def test_a_world_readable_file_becomes_private_before_writing(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    there.chmod(0o666)

    with storage.writing(there) as file:
        assert mode(there) == 0o600  # before a byte is in it
        file.write(b"x")

    assert mode(there) == 0o600


def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)

    storage.make_folder(shared / "ours")

    assert mode(shared) == 0o2770
    assert mode(shared / "ours") & 0o777 == 0o700


def test_a_disk_without_modes_is_still_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(file: int, mode: int) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    (tmp_path / "there").touch()
    (tmp_path / "there").chmod(0o644)
    monkeypatch.setattr(os, "fchmod", unknown)

    storage.write_text(tmp_path / "there", "x")

    assert storage.read_text(tmp_path / "there") == "x"


def test_an_object_store_supports_the_same_functions() -> None:
    folder = UPath("memory://bucket/runs/one")

    storage.make_folder(folder)
    storage.write_text(folder / "text", "é")
    with pytest.raises(StorageFailed), storage.writing(folder / "half") as file:
        file.writelines([b"half", None])  # type: ignore[list-item]

    assert storage.read_text(folder / "text") == "é"
    assert not storage.exists(folder / "half")


def test_a_stores_library_error_is_reported_without_its_message() -> None:
    class ClientError(Exception):
        pass

    class Bucket:
        def __str__(self) -> str:
            return "s3://bucket/01_candidates.parquet"

        def open(self, mode: str) -> io.BytesIO:
            raise ClientError("+33639980001")

    with pytest.raises(StorageFailed) as failed:
        storage.opened(Bucket(), "wb")

    assert failed.value.retryable
    assert str(failed.value).startswith(
        "s3://bucket/01_candidates.parquet can't be written (Client"
    )
    assert "+336" not in str(failed.value)


LASTING = {
    errno.ENOSPC: True,
    errno.EDQUOT: True,
    errno.EIO: True,
    errno.ESTALE: True,
    errno.EMFILE: True,
    errno.EROFS: False,
    errno.EACCES: False,
    errno.ENOENT: False,
    errno.ENOTDIR: False,
    errno.EFBIG: False,
}


@pytest.mark.parametrize(("number", "retried"), LASTING.items(), ids=map(os.strerror, LASTING))
def test_a_failure_says_what_where_and_what_to_do(number: int, retried: bool) -> None:
    failed = storage.as_storage_failed(OSError(number, "any"), "/runs/one/00_plan.json", "written")

    assert failed.retryable is retried
    assert str(failed).startswith(
        f"/runs/one/00_plan.json can't be written ({os.strerror(number)}): "
    )
    assert isinstance(failed, StorageGone) is (number == errno.ENOENT)
    copy = pickle.loads(pickle.dumps(failed))
    assert (type(copy), str(copy), copy.retryable) == (type(failed), str(failed), retried)


def test_a_full_disk_leaves_no_partial_file(disk: Disk) -> None:
    disk.fill(but=2)

    for name, write in (
        ("text", lambda path: storage.write_text(path, "x" * 100_000)),
        ("rows", lambda path: parquet.write(path, [texts(a=[os.urandom(50_000).hex()])])),
    ):
        with pytest.raises(StorageFailed, match=rf"{name}\S* can't be written .No space") as full:
            write(disk.folder / name)
        assert full.value.retryable
        left = disk.folder / name
        assert not left.exists() or left.stat().st_size == 0
    disk.make_room()
    storage.write_text(disk.folder / "text", "x" * 100_000)


def test_a_full_archive_keeps_no_partial_report(disk: Disk) -> None:
    name = f"{ReportKind.STOP}-12345-20270302-1000-spring.csv"
    report = io.BytesIO(b"+33639980001;STOP\r\n" * 1000)
    when = datetime(2027, 3, 2, 9, 0, tzinfo=UTC)
    disk.fill(but=1)

    with pytest.raises(StorageFailed, match="No space left on device") as full:
        archive.keep(report, name, when, disk.folder)

    assert full.value.retryable
    assert [path for path in disk.folder.rglob("*.csv") if path.name != "filler"] == []
    disk.make_room()
    kept = archive.keep(report, name, when, disk.folder)
    assert (disk.folder / kept.place).read_bytes() == report.getvalue()


def test_a_failing_temporary_folder_is_reported(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(disk.folder / "gone"))
    with pytest.raises(StorageFailed, match="TMPDIR"), storage.scratch():
        pass

    if type(disk) is Disk:  # a real one
        monkeypatch.setattr("tempfile.tempdir", str(disk.folder))
        disk.fill()
        with pytest.raises(StorageFailed, match=r"TMPDIR.*No space left") as full:
            spill()
        assert full.value.retryable


def spill() -> None:
    with storage.scratch() as copy:
        copy.write(bytes(100_000))


def test_a_file_that_cannot_be_opened_stays_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").write_text("whole")

    def forbidden(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "any", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", forbidden)
        with pytest.raises(StorageFailed, match="give this user the right"):
            storage.writing(tmp_path / "whole").__enter__()

    assert (tmp_path / "whole").read_text() == "whole"


WRITERS = {
    *("mkdir", "makedirs", "write_text", "write_bytes", "touch", "mkdtemp", "mkstemp", "copyfile"),
    *("TemporaryFile", "NamedTemporaryFile", "TemporaryDirectory", "OSFile"),
}
NATIVE = {"CSVWriter", "ParquetWriter"}  # take a path, too


def test_nothing_else_opens_a_file_for_writing() -> None:
    """What is about people is opened in `sms.storage` alone: no mode can be forgotten."""
    sources = [*OURS.rglob("*.py"), *(OURS.parents[1] / "plugins").rglob("*.py")]
    others = [path for path in sources if path != Path(storage.__file__)]

    found = [call for path in others for call in writing_calls(path)]

    assert len(sources) > 90
    assert found == ["open(os.devnull, 'wb')"]


def writing_calls(path: Path) -> Iterator[str]:
    """Calls that write to a file, or might."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        words = ast.unparse(node)
        name = ast.unparse(node.func).rpartition(".")[2]
        opens = name == "open" and any(f"'{mode}" in words for mode in ("w", "a", "x", "r+"))
        writes = name in WRITERS and not words.startswith("storage.")
        if opens or writes or (name in NATIVE and "path" in words):
            yield words
