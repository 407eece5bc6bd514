import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from rdpprov.accounts.attempts import FailureCounter


def failed(counter, address, times):
    for time in times:
        counter.record(address, time)


def test_nine_failures_cost_nothing_and_ten_cost_two_seconds():
    counter = FailureCounter()
    failed(counter, "192.0.2.1", range(9))
    assert counter.answer_not_before("192.0.2.1", started=10, now=10.25) == 10.25
    counter.record("192.0.2.1", 10.25)
    assert counter.answer_not_before("192.0.2.1", started=11, now=11.25) == 13
    assert counter.answer_not_before("192.0.2.1", started=11, now=20) == 20


def test_ten_minutes_without_enough_failures_end_the_delay():
    counter = FailureCounter()
    failed(counter, "192.0.2.1", range(10))
    assert counter.answer_not_before("192.0.2.1", started=599, now=599.5) == 601
    assert counter.answer_not_before("192.0.2.1", started=600, now=600.5) == 600.5


def test_one_address_does_not_slow_down_another():
    counter = FailureCounter()
    failed(counter, "192.0.2.1", [0] * 20)
    assert counter.answer_not_before("192.0.2.2", 1, 1) == 1
    failed(counter, "2001:db8::1", [0] * 10)
    assert counter.answer_not_before("2001:db8:0:1::1", 1, 1) == 1


def test_the_addresses_that_one_attacker_has_count_as_one():
    counter = FailureCounter()
    for host in range(10):
        counter.record(f"2001:db8::{host:x}", 0)
    assert counter.answer_not_before("2001:db8::ffff", 1, 1) == 3
    failed(counter, "192.0.2.1", [0] * 5)
    failed(counter, "::ffff:192.0.2.1", [0] * 5)
    assert counter.answer_not_before("192.0.2.1", 1, 1) == 3
    failed(counter, "fe80::1%eth0", [0] * 10)
    assert counter.answer_not_before("fe80::2%eth0", 1, 1) == 3


def test_memory_is_bounded_and_the_oldest_is_forgotten():
    counter = FailureCounter(addresses=3)
    for address in ("a", "b", "c", "a", "d"):
        failed(counter, address, [0] * 10)
    assert len(counter) == 3
    assert counter.answer_not_before("b", 1, 1) == 1
    assert counter.answer_not_before("a", 1, 1) == 3


@given(st.text() | st.ip_addresses().map(ipaddress.ip_address).map(str))
def test_any_text_is_an_address(address):
    counter = FailureCounter()
    failed(counter, address, [0] * 10)
    assert counter.answer_not_before(address, 1, 1) == 3
