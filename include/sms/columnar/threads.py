"""Work on a stream of batches in a few threads, in order and with little in memory.

Arrow and NumPy let go of the interpreter while they compute, so that threads share the machine's
cores without copying a batch. What the work is belongs to whoever calls.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS = min(4, os.cpu_count() or 1)


def ordered(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int = THREADS
) -> Iterator[Result]:
    """`work` of each item, in the items' order; at most `threads + 1` of them are in memory.

    `items` is drawn in the caller's thread, `work` runs in others and must not depend on what
    came before. The first error ends the stream.
    """
    with ThreadPoolExecutor(threads, thread_name_prefix="sms") as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()
