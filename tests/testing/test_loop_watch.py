"""Who holds the event loop, and who does not: a machine that stands still is nobody's fault."""

import os
import signal
import subprocess
import sys
import time

import pytest

HOLDING = """
import sys, threading, time
import trio
from rdpprov.testing.kit_service import _LoopWatch

def compute(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass

async def main():
    watch = _LoopWatch(0.4, lambda task: False, lambda task: "")
    trio.lowlevel.add_instrument(watch)
    thread = threading.Thread(target=watch.run, daemon=True)
    thread.start()
    await trio.sleep(0.1)
    print("now", flush=True)
    HOW
    await trio.sleep(0.1)
    watch.stopped.set()
    thread.join()
    print(len(watch.blockades))

trio.run(main)
"""


def start(how):
    script = HOLDING.replace("HOW", how)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "now\n"
    return process


@pytest.mark.parametrize("how", ["time.sleep(0.9)", "compute(0.9)"])
def test_a_task_that_holds_the_event_loop_is_named(how):
    with start(how) as process:
        assert process.communicate(timeout=30)[0] == "1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="processes are stopped by a signal")
def test_a_machine_that_stands_still_is_not_the_providers_fault():
    with start("time.sleep(0.15)") as process:
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.0)
        os.kill(process.pid, signal.SIGCONT)
        assert process.communicate(timeout=30)[0] == "0\n"
