"""What Wireshark makes of a connection: an independent reader of every byte that the server sends."""

import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from tests.peers.support import Display, StartService, alike, eventually, running, shows, xfreerdp


async def tshark(capture: Path, port: int, keylog: Path, *options: str) -> list[str]:
    """Lines of tshark's reading of a capture."""
    result = await trio.run_process(
        [
            "tshark", "-n", "-r", str(capture), "-o", f"tls.keylog_file:{keylog}",
            "-d", f"tcp.port=={port},tls", "-d", f"tls.port=={port},tpkt", *options,
        ],
        capture_stdout=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return result.stdout.decode().splitlines()


def settled(path: Path) -> Callable[[], Awaitable[bool]]:
    """Whether a file has stopped growing since the last time it was asked."""
    sizes = [-1]

    async def same() -> bool:
        sizes.append((await trio.Path(path).stat()).st_size)
        return sizes[-1] == sizes[-2]

    return same


@pytest.mark.peer("Xvfb", "xfreerdp", "import", "tshark")
@pytest.mark.parametrize("depth", [16, 32])
async def test_wireshark_reads_every_packet_of_the_server(
    depth: int, display: Display, serving: StartService, tmp_path: Path
) -> None:
    keylog, capture = tmp_path / "keylog", tmp_path / "capture.pcapng"
    async with serving(tls_keylog=str(keylog)) as service:
        async with running(["tshark", "-n", "-i", "lo", "-w", str(capture), "-f", f"tcp port {service.port}"], display):

            async def capturing() -> bool:
                return await trio.Path(capture).exists()

            await eventually(capturing, "tshark's capture file; capturing needs root")
            async with running(xfreerdp(service.port, f"/bpp:{depth}"), display):
                await shows(display, service, alike(depth))
                # A whole picture leaves in large writes, whose TLS records do not begin with a PDU, and tshark cannot
                # find the PDUs in them; the updates that follow a key are small.
                await display.xdotool("type", "--delay", 50, "ab")

                async def typed() -> bool:
                    return service.desktops[0].text == "ab"

                await eventually(typed, "the typed text")
                await shows(display, service, alike(depth))
            # The client has gone; the kernel hands what it has captured to tshark within a second.
            await eventually(settled(capture), "the end of the capture", interval=1)
        port = service.port
    malformed = await tshark(capture, port, keylog, "-Y", f"tcp.srcport=={port} && _ws.malformed")
    assert malformed == []
    seen = "\n".join(await tshark(capture, port, keylog, "-Y", f"tcp.srcport=={port} && rdp", "-V"))
    # That it decrypted, and that it went all the way.
    assert "pduTypeType: Demand Active PDU" in seen
    assert "pduType2: FontMap" in seen
    assert "Code: Bitmap" in seen
