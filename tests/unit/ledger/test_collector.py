"""The collector is paused inside a block and runs again after the last one, nested or in several threads."""

from __future__ import annotations

import gc
import threading

import pytest

from ledger.collector import without_collector


def test_it_is_paused_inside_and_runs_again_after_nested_blocks() -> None:
    assert gc.isenabled()
    with without_collector():
        assert not gc.isenabled()
        with without_collector():
            assert not gc.isenabled()
        assert not gc.isenabled(), "the inner block ends before the outer one"
    assert gc.isenabled()


def test_it_runs_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), without_collector():
        _ = 1 // 0
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with without_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


@pytest.mark.parametrize("first_out", [0, 1])
def test_two_threads_that_overlap_leave_it_running(first_out: int) -> None:
    entered = [threading.Event(), threading.Event()]
    leave = [threading.Event(), threading.Event()]

    def stay(number: int) -> None:
        with without_collector():
            entered[number].set()
            leave[number].wait(10)

    threads = [threading.Thread(target=stay, args=(number,)) for number in (0, 1)]
    for number, thread in enumerate(threads):
        thread.start()
        assert entered[number].wait(10)
    for number in (first_out, 1 - first_out):
        leave[number].set()
        threads[number].join(10)
    assert gc.isenabled()
