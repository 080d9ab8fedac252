import os
import signal
import threading

import pytest

from bench.train.signals import Signals, Stopped


def test_a_signal_is_noted_and_the_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        stop = Signals()
        with stop.caught():
            assert stop() == 0
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # a launcher may send it on a second time
            assert stop() == number
        assert Stopped(stop(), 7).status == status
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert str(Stopped(signal.SIGTERM, 7)) == "stopped by SIGTERM after step 7"


def test_what_takes_long_is_left_at_once():
    stop = Signals()
    with stop.caught(), pytest.raises(Stopped, match="stopped by SIGTERM$"), stop.at_once():
        os.kill(os.getpid(), signal.SIGTERM)


def test_asking_again_means_now(monkeypatch):
    monkeypatch.setattr("bench.train.signals._AGAIN", 0.0)
    stop = Signals()
    with stop.caught(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_threads_do_without():
    seen = []

    def run():
        with Signals().caught() as stop:
            seen.append(stop())

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [0]
