"""Who guesses the listener's own password: what is slow about a wrong one.

(How many clients may not have said yet who they are is `rdpprov.providers.half_open`'s affair, as for every provider.)
"""

import trio

from rdpprov.accounts.attempts import SlowDown
from rdpprov.security.vnc_auth import check_vnc_response

REFUSAL_DELAY = 0.5
"""Seconds from a wrong password to the answer, at least: who guesses has time, who mistypes does not mind."""


class VncPassword:
    """A listener's own password, and how often each address was wrong about it.

    Args:
        password: eight bytes of it count; empty: it never matches.
    """

    def __init__(self, password: bytes) -> None:
        self._password = password
        self._slow_down = SlowDown()

    async def check(self, challenge: bytes, response: bytes, address: str) -> bool:
        """Whether the client knows it. After 10 failures within 10 minutes from one address each further answer from
        there takes 2 s, good or bad, and one after the other."""
        started = trio.current_time()
        is_right = check_vnc_response(self._password, challenge, response)
        await self._slow_down.hold_back(address, started=started, failed=not is_right)
        return is_right
