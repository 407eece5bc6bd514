import functools
import types

import pytest
import trio

from rdpprov.api.connection import ProtocolConnection
from rdpprov.rcm.asking import answers_at_once


class Answering:
    async def plain(self):
        return 1

    async def raising(self):
        raise ValueError

    async def with_a_generator_inside(self):
        return sum(number * number for number in range(3))


class Waiting:
    async def awaiting(self):
        await trio.sleep(1)

    async def awaiting_if_asked_to(self, asked=False):
        return asked and await trio.sleep(1)

    async def entering(self):
        async with trio.Lock():
            return 1

    async def iterating(self):
        async for number in trio.open_signal_receiver():
            self.number = number

    async def comprehending(self):
        return [await number for number in ()]

    async def generating(self):
        yield 1

    def handing_out_a_coroutine(self):
        return self.awaiting()

    @types.coroutine
    def of_the_old_kind(self):
        yield

    @functools.wraps(Answering.plain)
    async def decorated(self):
        return await Answering.plain(self)

    partial = functools.partial(trio.sleep, 1)


def methods(cls):
    return [getattr(cls(), name) for name in vars(cls) if not name.startswith("_")]


@pytest.mark.parametrize("method", methods(Answering))
def test_a_method_without_await_answers_at_once(method):
    assert answers_at_once(method)


@pytest.mark.parametrize("method", methods(Waiting))
def test_whatever_might_wait_has_a_time_limit(method):
    assert not answers_at_once(method)


def test_the_defaults_of_the_provider_api_answer_at_once():
    assert answers_at_once(ProtocolConnection.get_user_credentials)
