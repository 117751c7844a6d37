"""Processes: told to stop, started again, ended together. The members here are tiny programs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from realbogus.stream.running import FORCED, run_until_told
from realbogus.stream.supervisor import Supervisor


def member(program: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(program)]


def test_members_that_are_done_end_the_supervisor_with_their_reports():
    supervisor = Supervisor([member(f"print('{{\"n\": {n}}}')") for n in (1, 2)], leave_s=5)
    assert supervisor.run() == 0
    time.sleep(0.1)
    assert sorted(report["n"] for report in supervisor.reports()) == [1, 2]


def test_a_member_that_fails_is_started_again(tmp_path: Path):
    program = f"""
        import pathlib, sys
        trace = pathlib.Path({str(tmp_path / "trace")!r})
        times = len(trace.read_text()) if trace.exists() else 0
        trace.write_text("x" * (times + 1))
        sys.exit(0 if times else 3)
    """
    assert Supervisor([member(program)], leave_s=5).run() == 0
    assert (tmp_path / "trace").read_text() == "xx"


@pytest.mark.parametrize("code", [2, 4], ids=["a wrong configuration", "too many refused alerts"])
def test_a_member_that_starting_again_does_not_mend_stops_all(code):
    waits = "import time, signal; time.sleep(60)"
    started = time.monotonic()
    assert Supervisor([member(f"import sys; sys.exit({code})"), member(waits)], leave_s=5).run() >= code
    assert time.monotonic() - started < 20


WAITS = """
    import signal, sys, time
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("{}", flush=True)
    while True:
        time.sleep(0.05)
"""


def test_a_signal_is_passed_on_and_all_leave():
    supervisor = Supervisor([member(WAITS), member(WAITS)], leave_s=5)
    timer = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    assert supervisor.run() == 0
    timer.join()


# The loop of one process. Ends of processes are tried in a process.

LOOP = """
    import sys, time
    from realbogus.stream.running import run_until_told
    def work(stop):
        print("started", flush=True)
        while not stop() or {obstinate}:
            time.sleep(0.01)
        return 5
    assert run_until_told(work, leave_s={leave_s}) == 5
    print("left", flush=True)
"""


def loop(*, obstinate: bool, leave_s: float) -> subprocess.Popen[str]:
    program = member(LOOP.format(obstinate=obstinate, leave_s=leave_s))
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_loop_finish(number):
    process = loop(obstinate=False, leave_s=30)
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == "left\n"
    assert process.returncode == 0


def test_a_second_signal_ends_the_process_at_once():
    process = loop(obstinate=True, leave_s=60)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == FORCED


def test_a_batch_that_does_not_end_is_left_after_the_time_given():
    process = loop(obstinate=True, leave_s=0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == FORCED


def test_a_client_that_hangs_and_lets_no_other_thread_run_is_left_too():
    """As when it waits for itself within a callback: no signal handler and no watching thread gets a turn."""
    program = member("""
        import ctypes
        from realbogus.stream import running
        running.LAST_S = 0.5
        def work(stop):
            print("started", flush=True)
            while not stop():
                pass
            ctypes.PyDLL(None).sleep(600)  # without giving Python away
        running.run_until_told(work, leave_s=0.5)
    """)
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=30)[1]
    assert process.returncode == 1
    assert "in work" in told  # where it hung


def test_what_the_loop_raises_comes_out():
    def work(stop):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_until_told(work, leave_s=1)


def test_the_main_thread_may_ask_the_loop_to_stop():
    def work(stop):
        while not stop():
            time.sleep(0.01)
        return "left"

    assert run_until_told(work, leave_s=10, tick=lambda: True) == "left"
