"""Who guesses the listener's own password on many connections."""

import trio

from rdpprov.providers.rfb.half_open import VncPassword


async def test_many_connections_at_once_guess_no_faster_than_one(autojump_clock):
    secret = VncPassword(b"opensesa")
    answered = []

    async def guess():
        assert not await secret.check(bytes(range(16)), bytes(16), "192.0.2.1")
        answered.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(guess)
    assert answered == [0] * 10 + [2 * (number + 1) for number in range(40)]
