"""Stands in for a client with a window, and for who sits there: connects with the same arguments, and stays.

Who sits at an RDP client presses Y now and then, which is the answer to every question that a page has.
"""

import contextlib
import re
import signal
import sys

import trio

from rdpprov.api.devices import UnicodeKey
from rdpprov.errors import LocalProtocolError
from rdpprov.protocol.rdp.client import ClientOptions
from rdpprov.testing.rdp_client import connect_rdp
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.wire.rfb.handshake import VencryptSubtype


async def agree(client) -> None:
    """Press Y, with rests: a question does not take the keys of somebody who is typing for an answer."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, LocalProtocolError):  # it has ended
        while True:
            await trio.sleep(1.5)
            await client.send_input(UnicodeKey("y", True), UnicodeKey("y", False))


async def stay() -> None:
    """Until somebody closes the window."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        print("connected", flush=True)
        await anext(signals)


async def main(program: str, *arguments: str) -> None:
    words = " ".join(arguments)
    if program == "xfreerdp":
        given = dict(re.findall(r"/(v|u|p):(\S+)", words))
        host, _, port = given["v"].rpartition(":")
        options = ClientOptions(user_name=given["u"], password=given["p"], width=800, height=600)
        async with connect_rdp(host, int(port), options) as client:
            await client.first_picture.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(agree, client)
                await stay()
                nursery.cancel_scope.cancel()
        return
    host, _, port = re.search(r"[\d.]+::?\d+", words)[0].replace("::", ":").rpartition(":")
    user, password = re.search(r"VNC_USERNAME=(\S+) VNC_PASSWORD=(\S+)", words).groups()
    security = [VencryptSubtype.X509_PLAIN]
    async with connect_rfb(host, int(port), security=security, user=user, password=password) as viewer:
        await viewer.first_picture.wait()
        await stay()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
