import signal
import threading
from types import FrameType

import pytest

from zh_lstm_lm.interruption import catch_interruption


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


def test_blocks_can_be_nested() -> None:
    with catch_interruption() as outer:
        with catch_interruption() as inner:
            interrupt()
            assert inner.requested
            assert not outer.requested
        interrupt()
        assert outer.requested


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
