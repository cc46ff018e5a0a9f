import signal
import threading
from types import FrameType

import pytest

from zh_lstm_lm.runtime.interruption import catch_interruption, check_interruption

# Windows has no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_without_a_signal_nothing_is_requested() -> None:
    with catch_interruption() as interruption:
        assert not interruption.requested
    assert not interruption.requested


def test_first_interrupt_sets_the_flag_and_does_not_raise() -> None:
    steps = 0
    with catch_interruption() as interruption:
        interrupt()
        steps += 1
        assert interruption.requested
    assert steps == 1


def test_second_interrupt_raises_at_once() -> None:
    after = False
    with pytest.raises(KeyboardInterrupt), catch_interruption() as interruption:  # noqa: PT012
        interrupt()
        assert interruption.requested
        interrupt()
        after = True
    assert not after


def test_each_block_starts_with_a_clear_flag() -> None:
    with catch_interruption() as first:
        interrupt()
    with catch_interruption() as second:
        assert first.requested
        assert not second.requested


@pytest.mark.parametrize("signals", [0, 1, 2])
def test_the_old_handler_comes_back_and_works(signals: int) -> None:
    received: list[int] = []

    def own(signum: int, frame: FrameType | None) -> None:
        received.append(signum)

    outer = signal.signal(signal.SIGINT, own)
    try:
        try:
            with catch_interruption():
                assert signal.getsignal(signal.SIGINT) is not own
                for _ in range(signals):
                    interrupt()
        except KeyboardInterrupt:
            assert signals == 2
        assert received == []
        assert signal.getsignal(signal.SIGINT) is own
        interrupt()
        assert received == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, outer)


def test_the_old_handler_comes_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), catch_interruption():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_blocks_inside_one_another_have_one_flag() -> None:
    """What is asked of the inner one is asked of the outer one too, which has more to save."""
    with catch_interruption() as outer:
        with catch_interruption() as inner:
            interrupt()
            assert inner.requested
        assert outer.requested
        assert signal.getsignal(signal.SIGINT) is outer
        with pytest.raises(KeyboardInterrupt):
            check_interruption()
        with pytest.raises(KeyboardInterrupt):
            interrupt()


def test_outside_the_main_thread_it_is_never_set() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen: list[bool] = []

    def work() -> None:
        with catch_interruption() as interruption:
            seen.append(signal.getsignal(signal.SIGINT) is before)
            seen.append(interruption.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, False]


def test_work_without_a_block_around_it_is_never_stopped() -> None:
    check_interruption()
    with catch_interruption():
        check_interruption()


@pytest.mark.parametrize("signum", SIGNALS)
def test_work_inside_a_block_stops_when_it_looks(signum: int) -> None:
    received: list[int] = []
    outer = signal.signal(signum, lambda number, frame: received.append(number))
    try:
        with pytest.raises(KeyboardInterrupt), catch_interruption() as interruption:  # noqa: PT012
            signal.raise_signal(signum)
            assert interruption.requested
            assert not interruption.insisted
            check_interruption()
        # A process that is to end still learns of it from the old handler; Ctrl-C is told by the exception.
        assert received == ([] if signum == signal.SIGINT else [signum])
    finally:
        signal.signal(signum, outer)


def test_both_signals_count_together() -> None:
    with pytest.raises(KeyboardInterrupt), catch_interruption() as interruption:  # noqa: PT012
        before = signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        signal.raise_signal(signal.SIGINT)
        assert before is interruption
        signal.raise_signal(signal.SIGTERM)
    assert interruption.insisted


@pytest.mark.parametrize("signum", SIGNALS)
def test_signal_that_is_ignored_stays_so(signum: int) -> None:
    """As Ctrl-C in a process that a shell has put into the background, or SIGHUP under ``nohup``."""
    outer = signal.signal(signum, signal.SIG_IGN)
    try:
        with catch_interruption() as interruption:
            signal.raise_signal(signum)
            assert not interruption.requested
            assert signal.getsignal(signum) is signal.SIG_IGN
    finally:
        signal.signal(signum, outer)


def test_other_threads_are_not_stopped() -> None:
    seen: list[str] = []

    def work() -> None:
        check_interruption()
        seen.append("went on")

    with catch_interruption():
        interrupt()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == ["went on"]
