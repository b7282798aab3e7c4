"""Read, work and write a row of things, the three at once for different ones, in order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from fst.errors import FstError

AHEAD = 2  # things read before their turn: what bounds the memory

Item = TypeVar("Item")
Read = TypeVar("Read")
Worked = TypeVar("Worked")
Written = TypeVar("Written")


@dataclass
class Outcome(Generic[Item, Written]):
    """What became of one thing: ``result`` or ``error``, and the seconds each part took."""

    item: Item
    result: Written | None = None
    error: FstError | None = None
    read_s: float = 0.0
    work_s: float = 0.0
    write_s: float = 0.0

    @property
    def seconds(self) -> float:
        """Of reading, working and writing together."""
        return self.read_s + self.work_s + self.write_s


def overlap(
    items: Iterable[Item],
    *,
    read: Callable[[Item], Read],
    work: Callable[[Read], Worked],
    write: Callable[[Worked], Written],
) -> Iterator[Outcome[Item, Written]]:
    """Outcomes of ``write(work(read(item)))``, in the order of ``items``.

    ``read`` runs in a thread, up to two things ahead, ``work`` here, ``write`` in another thread;
    each does one thing at a time. An ``FstError`` of a part becomes the thing's outcome, and the
    rest continue. Any other exception, such as Ctrl-C, ends it all, once what was worked on is
    written.
    """
    rest = iter(items)
    coming: deque[tuple[Outcome[Item, Written], Future[Read | None]]] = deque()
    going: deque[tuple[Outcome[Item, Written], Future[None]]] = deque()
    reader, writer = (ThreadPoolExecutor(1, f"fst-{part}") for part in ("read", "write"))

    def read_one(outcome: Outcome[Item, Written]) -> Read | None:
        return _timed(outcome, "read_s", read, outcome.item)

    def write_one(outcome: Outcome[Item, Written], worked: Worked | None) -> None:
        if outcome.error is None and worked is not None:
            outcome.result = _timed(outcome, "write_s", write, worked)

    try:
        while True:
            while len(coming) < AHEAD:
                outcome = next((Outcome[Item, Written](item) for item in rest), None)
                if outcome is None:
                    break
                coming.append((outcome, reader.submit(read_one, outcome)))
            if not coming:
                break
            outcome, future = coming.popleft()
            found = future.result()
            del future
            worked = None
            if outcome.error is None and found is not None:
                worked = _timed(outcome, "work_s", work, found)
            del found
            going.append((outcome, writer.submit(write_one, outcome, worked)))
            del worked
            while going and (len(going) > 1 or going[0][1].done()):
                yield _finished(going)
        while going:
            yield _finished(going)
    finally:
        reader.shutdown(cancel_futures=True)
        writer.shutdown()


def _finished(
    going: deque[tuple[Outcome[Item, Written], Future[None]]],
) -> Outcome[Item, Written]:
    outcome, future = going.popleft()
    future.result()
    return outcome


Given = TypeVar("Given")
Made = TypeVar("Made")


def _timed(
    outcome: Outcome[Item, Written], part: str, function: Callable[[Given], Made], given: Given
) -> Made | None:
    start = time.monotonic()
    try:
        return function(given)
    except FstError as error:
        outcome.error = error
        return None
    finally:
        setattr(outcome, part, time.monotonic() - start)
