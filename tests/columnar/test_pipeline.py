"""Work in threads: results in order, few items read ahead, no thread left running."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from sms.columnar import threads as pipeline
from sms.columnar.threads import THREADS, ordered

PATIENCE = 60  # seconds until a test that hangs is told so; none waits for it


class Source:
    """Numbers without end, which remembers how many were drawn, and by whom."""

    def __init__(self, size: int | None = None, then: Exception | None = None) -> None:
        self.size, self.then = size, then
        self.drawn = 0
        self.drawers: set[int] = set()

    def __iter__(self) -> Iterator[int]:
        for number in itertools.count() if self.size is None else range(self.size):
            self.drawn += 1
            self.drawers.add(threading.get_ident())
            yield number
        if self.then:
            raise self.then


def same(number: int) -> int:
    return number


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sms_")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert workers() == []


@pytest.mark.parametrize("threads", [1, 2, 3, THREADS])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 50])
def test_every_item_comes_once_and_in_order(size, threads):
    assert list(ordered(str, Source(size), threads)) == [str(n) for n in range(size)]


def test_a_result_waits_for_the_results_before_it():
    done = [threading.Event() for _ in range(3)]

    def work(number: int) -> int:
        if number < 2:
            assert done[number + 1].wait(PATIENCE)
        done[number].set()
        return number

    assert list(ordered(work, range(3), 3)) == [0, 1, 2]


def test_all_threads_work_at_once_but_never_the_callers():
    together = threading.Barrier(3, timeout=PATIENCE)

    def work(number: int) -> int:
        together.wait()
        return threading.get_ident()

    found = set(ordered(work, range(12), 3))

    assert len(found) == 3
    assert threading.get_ident() not in found


def test_no_more_work_at_once_than_there_are_threads():
    count, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(2, timeout=PATIENCE)

    def work(number: int) -> None:
        nonlocal count, most
        with lock:
            count += 1
            most = max(most, count)
        together.wait()
        with lock:
            count -= 1

    assert len(list(ordered(work, range(20), 2))) == 20
    assert most == 2


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_at_most_one_item_more_than_threads_is_read(threads):
    source = Source()
    stream = ordered(same, source, threads)

    assert source.drawn == 0
    for taken in range(1, 20):
        assert next(stream) == taken - 1
        assert source.drawn == taken + threads
    stream.close()
    assert source.drawn == 19 + threads


def test_no_item_is_read_while_the_first_is_processed():
    begun, may_end = threading.Event(), threading.Event()
    source = Source()

    def work(number: int) -> int:
        if number == 0:
            begun.set()
            assert may_end.wait(PATIENCE)
        return number

    stream = ordered(work, source, 2)
    taken: list[int] = []
    consumer = threading.Thread(target=lambda: taken.append(next(stream)))
    consumer.start()
    assert begun.wait(PATIENCE)
    assert source.drawn <= 3
    assert taken == []
    may_end.set()
    consumer.join(PATIENCE)
    stream.close()

    assert taken == [0]
    assert source.drawn == 3


def test_items_are_read_in_the_consumers_thread():
    source = Source(20)
    list(ordered(same, source, 3))

    assert source.drawers == {threading.get_ident()}


def test_an_error_ends_the_stream_in_its_place():
    source = Source()
    may_end = threading.Event()

    def work(number: int) -> int:
        if number == 2:
            may_end.set()
            raise ConnectionError(number)
        if number == 1:
            assert may_end.wait(PATIENCE)  # what comes before the error is still told
        return number

    stream = ordered(work, source, 2)

    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(ConnectionError, match="2"):
        next(stream)
    assert source.drawn == 5
    assert workers() == []
    assert list(stream) == []


def test_the_earlier_items_error_wins_even_if_later():
    failed = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            failed.set()
            raise ValueError
        assert failed.wait(PATIENCE)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(ordered(work, range(2), 2))


class Held(ThreadPoolExecutor):
    """Threads that never come to anything but the first item, which they spoil or do."""

    made: list["Held"]

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(1)
        self.futures: list[Future[int]] = []
        self.made.append(self)

    def submit(self, work, item):
        future: Future[int] = Future()
        self.futures.append(future)
        if item == 0:
            try:
                future.set_result(work(item))
            except ConnectionError as error:
                future.set_exception(error)
        return future


@pytest.fixture
def held(monkeypatch):
    Held.made = []
    monkeypatch.setattr(pipeline, "ThreadPoolExecutor", Held)
    return Held.made


def test_pending_work_is_cancelled_when_an_item_fails(held):
    def work(number: int) -> int:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        next(ordered(work, Source(), 3))

    [pool] = held
    assert [future.cancelled() for future in pool.futures] == [False, True, True, True]


def test_pending_work_is_cancelled_when_the_consumer_leaves(held):
    stream = ordered(same, Source(), 3)
    assert next(stream) == 0
    stream.close()

    [pool] = held
    assert [future.cancelled() for future in pool.futures] == [False, True, True, True]


def test_pending_work_is_cancelled_when_the_source_fails(held):
    with pytest.raises(OSError, match="the disk is gone"):
        next(ordered(same, Source(2, OSError("the disk is gone")), 3))

    [pool] = held
    assert [future.cancelled() for future in pool.futures] == [False, True]


def test_a_leaving_consumer_waits_for_the_current_item_only():
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()
    source = Source()

    def work(number: int) -> int:
        if number == 1:
            begun.set()
            assert may_end.wait(PATIENCE)
            ended.set()
        return number

    stream = ordered(work, source, 1)
    assert next(stream) == 0
    assert begun.wait(PATIENCE)
    leaving = threading.Thread(target=stream.close)
    leaving.start()
    may_end.set()
    leaving.join(PATIENCE)

    assert ended.is_set()
    assert source.drawn == 2
    assert workers() == []


def test_a_consumer_that_breaks_off_leaves_no_thread():
    for number in ordered(same, Source(), 3):
        if number == 5:
            break

    assert workers() == []


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
def test_a_source_error_is_raised_and_leaves_no_thread(size):
    stream = ordered(same, Source(size, OSError("the disk is gone")), 2)
    told = []

    with pytest.raises(OSError, match="the disk is gone"):
        told += stream
    assert workers() == []
    with pytest.raises(StopIteration):
        next(stream)


def test_results_due_before_a_source_error_are_delivered():
    stream = ordered(same, Source(7, OSError("the disk is gone")), 2)

    assert list(itertools.islice(stream, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="the disk is gone"):
        next(stream)
