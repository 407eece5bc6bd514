"""The client of line_protocol.py: logs on, types, looks. Make an account and start the service first:

    rdpprov user add ann --users users.toml
    rdpprov serve --protocol examples.line_protocol:LineManager --desktop examples.line_protocol:BarsDesktop \\
        --listen 127.0.0.1:2323 --users users.toml --trace-dir traces

and then, in another terminal, from the project's root:

    python -m examples.line_client 127.0.0.1:2323 ann PASSWORD hello

`check_client` is the one that `rdpprov check-provider examples.line_protocol:LineManager` lets in.
"""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from types import SimpleNamespace

import trio


def main(address: str, name: str, password: str, *words: str) -> None:
    """Log on, type the words, and print what the desktop looks like."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection, connection.makefile("rw") as lines:

        def say(line: str) -> None:
            lines.write(line + "\n")
            lines.flush()

        say(f"LOGON {name} {password}")
        session = lines.readline().strip()
        if not session:
            sys.exit("the service ended the connection: is the password right?")
        print(session)
        for command in [f"TYPE {' '.join(words)}", "LOOK"]:
            say(command)
            for answer in lines:
                if answer == ".\n":
                    break
                print(answer, end="")


@asynccontextmanager
async def check_client(address: str, port: int, user: str, password: str) -> AsyncIterator[SimpleNamespace]:
    """Log on; what it is to do when it is used: type and look; and the session that it was told last."""
    async with await trio.open_tcp_stream(address, port) as stream, trio.open_nursery() as nursery:
        await stream.send_all(f"LOGON {user} {password}\n".encode())
        client = SimpleNamespace(use=partial(stream.send_all, b"TYPE a\nLOOK\n"), session_id=None)
        nursery.start_soon(_listen, stream, client)
        yield client
        nursery.cancel_scope.cancel()


async def _listen(stream: trio.SocketStream, client: SimpleNamespace) -> None:
    received = b""
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in stream:
            *lines, received = (received + data).split(b"\n")
            for line in lines:
                if line.startswith(b"SESSION "):
                    client.session_id = int(line.removeprefix(b"SESSION "))


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(f"usage: python -m examples.line_client HOST:PORT NAME PASSWORD WORD...\n\n{__doc__}")
    main(*sys.argv[1:])
