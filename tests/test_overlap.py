"""Reading, working and writing happen at the same time, and the results stay the same."""

import threading
import time
from pathlib import Path

import pytest

from fst.errors import FstError
from fst.inference.overlap import overlap


def test_outcomes_come_in_order_and_a_failed_part_is_one_things_own() -> None:
    def fail_at(bad: int, number: int) -> int:
        time.sleep(0.001 * (number % 3))
        if number == bad:
            raise FstError(f"{number} is bad")
        return number

    outcomes = list(
        overlap(
            range(9),
            read=lambda n: fail_at(2, n),
            work=lambda n: fail_at(4, n),
            write=lambda n: fail_at(6, n) * 10,
        )
    )
    assert [o.item for o in outcomes] == list(range(9))
    assert [o.result for o in outcomes] == [0, 10, None, 30, None, 50, None, 70, 80]
    assert [str(o.error) for o in outcomes if o.error] == ["2 is bad", "4 is bad", "6 is bad"]


def test_the_three_parts_run_at_once_and_no_more_than_two_things_are_read_ahead() -> None:
    meeting = threading.Barrier(3, timeout=60)  # broken, and the test with it, if one stays away
    read: list[int] = []

    def note(number: int) -> int:
        read.append(number)
        return meet(number, 2)

    def meet(number: int, turn: int) -> int:
        if number == turn:
            meeting.wait()
        return number

    def work(number: int) -> int:
        assert len(read) <= number + 1 + 2
        return meet(number, 1)

    # the first is written while the second is worked on and the third is read
    outcomes = overlap(range(20), read=note, work=work, write=lambda n: meet(n, 0))
    assert [o.result for o in outcomes] == list(range(20))


def test_ctrl_c_leaves_what_was_worked_on_written_and_no_thread_behind(tmp_path: Path) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise KeyboardInterrupt
        return number

    def write(number: int) -> None:
        time.sleep(0.05)
        (tmp_path / str(number)).touch()

    with pytest.raises(KeyboardInterrupt):
        list(overlap(range(9), read=lambda n: n, work=work, write=write))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "1", "2"]
    assert not [t for t in threading.enumerate() if t.name.startswith("fst-")]


def test_a_defect_in_a_part_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        list(overlap(range(3), read=lambda n: n, work=lambda n: n, write=lambda n: 1 / n))
