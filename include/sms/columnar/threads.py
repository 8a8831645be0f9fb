"""A few threads over a stream of batches, in order and with little memory.

Arrow and NumPy release the interpreter lock while they compute, so threads use all cores without
copying a batch.
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
    """Yield `work(item)` for each item, in order; at most `threads + 1` results are in memory.

    The caller's thread reads `items`; `work` runs in the pool and must not depend on earlier
    items. The first error ends the stream.
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
