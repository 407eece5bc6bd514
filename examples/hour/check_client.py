"""The client that `rdpprov check-provider` lets in; from step 5 on it stands in the protocol's own file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from types import SimpleNamespace

import trio


@asynccontextmanager
async def check_client(address: str, port: int, user: str, password: str) -> AsyncIterator[SimpleNamespace]:
    async with await trio.open_tcp_stream(address, port) as stream:
        await stream.send_all(f"{user} {password}\n".encode())
        yield SimpleNamespace(use=partial(stream.send_all, b"a\n"))
