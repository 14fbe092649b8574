import signal
import threading

import pytest

from scene_codec.cli.interrupt import cancel_on_interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_stops(number, capsys):
    with cancel_on_interrupt() as token:
        assert not token.cancelled
        signal.raise_signal(number)
        assert token.cancelled
        assert "again to stop at once" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)


def test_the_old_handlers_come_back():
    before = signal.getsignal(signal.SIGINT)
    with cancel_on_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone():
    tokens = []

    def work():
        with cancel_on_interrupt() as token:
            tokens.append(token.cancelled)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert tokens == [False]
