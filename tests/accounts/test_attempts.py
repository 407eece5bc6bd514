import ipaddress
from functools import partial

import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from rdpprov.accounts.attempts import FailureCounter, SlowDown


def failed(counter, address, times):
    for time in times:
        counter.record(address, time)


def test_ten_failures_are_too_often():
    counter = FailureCounter()
    failed(counter, "192.0.2.1", range(9))
    assert not counter.is_too_often("192.0.2.1", 10)
    counter.record("192.0.2.1", 10)
    assert counter.is_too_often("192.0.2.1", 11)


def test_ten_minutes_without_enough_failures_end_it():
    counter = FailureCounter()
    failed(counter, "192.0.2.1", range(10))
    assert counter.is_too_often("192.0.2.1", 599.5)
    assert not counter.is_too_often("192.0.2.1", 600.5)


def test_one_address_does_not_slow_down_another():
    counter = FailureCounter()
    failed(counter, "192.0.2.1", [0] * 20)
    assert not counter.is_too_often("192.0.2.2", 1)
    failed(counter, "2001:db8::1", [0] * 10)
    assert not counter.is_too_often("2001:db8:0:1::1", 1)


def test_the_addresses_that_one_attacker_has_count_as_one():
    counter = FailureCounter()
    for host in range(10):
        counter.record(f"2001:db8::{host:x}", 0)
    assert counter.is_too_often("2001:db8::ffff", 1)
    failed(counter, "192.0.2.1", [0] * 5)
    failed(counter, "::ffff:192.0.2.1", [0] * 5)
    assert counter.is_too_often("192.0.2.1", 1)
    failed(counter, "fe80::1%eth0", [0] * 10)
    assert counter.is_too_often("fe80::2%eth0", 1)


def test_memory_is_bounded_and_the_oldest_is_forgotten():
    counter = FailureCounter(addresses=3)
    for address in ("a", "b", "c", "a", "d"):
        failed(counter, address, [0] * 10)
    assert len(counter) == 3
    assert not counter.is_too_often("b", 1)
    assert counter.is_too_often("a", 1)


@given(st.text() | st.ip_addresses().map(ipaddress.ip_address).map(str))
def test_any_text_is_an_address(address):
    counter = FailureCounter()
    failed(counter, address, [0] * 10)
    assert counter.is_too_often(address, 1)


class Attempts:
    """Attempts on a clock that jumps."""

    def __init__(self, address="192.0.2.1"):
        self.slow_down = SlowDown()
        self.address = address
        self.answered = []

    async def attempt(self, *, failed=True, address=None, takes=0.0, whose=""):
        started = trio.current_time()
        await trio.sleep(takes)
        await self.slow_down.hold_back(address or self.address, started=started, failed=failed, whose=whose)
        self.answered.append(trio.current_time())

    async def fail_ten_times(self):
        for _ in range(10):
            await self.attempt()
        self.answered.clear()


async def test_the_first_ten_are_answered_at_once_and_each_further_one_after_two_seconds(autojump_clock):
    attempts = Attempts()
    await attempts.fail_ten_times()
    assert trio.current_time() == 0
    await attempts.attempt(failed=False)
    await attempts.attempt(takes=0.5)
    await attempts.attempt(takes=10)
    assert attempts.answered == [2, 4, 14]


@given(count=st.integers(1, 200), wrong=st.lists(st.booleans(), min_size=200, max_size=200))
def test_many_at_once_are_answered_no_faster_than_one_after_the_other(count, wrong):
    async def main():
        attempts = Attempts()
        await attempts.fail_ten_times()
        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(
                    partial(attempts.attempt, failed=wrong[number], address=f"::ffff:{attempts.address}")
                )
            await trio.testing.wait_all_tasks_blocked()
            assert len(attempts.slow_down) == 1
            await attempts.attempt(address="192.0.2.2")  # somebody else does not wait
            assert attempts.answered.pop() == 0
        assert attempts.answered == [2 * (number + 1) for number in range(count)]
        assert len(attempts.slow_down) == 0

    trio.run(main, clock=MockClock(autojump_threshold=0))


async def test_of_many_at_once_that_nobody_knows_yet_ten_are_answered_at_once(autojump_clock):
    attempts = Attempts()
    async with trio.open_nursery() as nursery:
        for _ in range(13):
            nursery.start_soon(attempts.attempt)
    assert attempts.answered == [0] * 10 + [2, 4, 6]


async def test_who_gives_up_gives_way_to_the_next(autojump_clock):
    attempts = Attempts()
    await attempts.fail_ten_times()
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(1):
            async with trio.open_nursery() as impatient:
                for _ in range(100):
                    impatient.start_soon(attempts.attempt)
        nursery.start_soon(attempts.attempt)
    assert attempts.answered == [3]
    assert len(attempts.slow_down) == 0


async def test_slow_checks_do_not_let_more_answers_out(autojump_clock):
    attempts = Attempts()
    await attempts.fail_ten_times()
    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(partial(attempts.attempt, takes=5 + number / 4))
    assert attempts.answered == [5 + 2 * number for number in range(8)]


async def test_who_guesses_at_one_name_holds_up_no_other_at_the_same_address(autojump_clock):
    attempts = Attempts()
    await attempts.fail_ten_times()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(partial(attempts.attempt, whose="root"))
        await trio.testing.wait_all_tasks_blocked()
        await attempts.attempt(failed=False, whose="anna")
        assert trio.current_time() == 4
        nursery.cancel_scope.cancel()
    assert len(attempts.slow_down) == 0


async def test_answers_of_long_ago_are_forgotten(autojump_clock):
    attempts = Attempts()
    for address in (f"192.0.2.{number}" for number in range(10)):
        for _ in range(11):
            await attempts.attempt(address=address)
    assert list(attempts.slow_down._answered) == ["192.0.2.8", "192.0.2.9"]
