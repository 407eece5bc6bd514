"""RSA-AES with viewers that are not ours: TigerVNC's from 1.13 on.

``RDPPROV_TIGERVNC`` names one that is not the installed one: Debian 12 still has 1.12, which does not know RSA-AES.
"""

import os
import subprocess
from functools import cache

import pytest
import trio

from rdpprov.security.ra2 import fingerprint
from rdpprov.testing.rfb_client import connect_rfb
from rdpprov.wire.rfb.handshake import SecurityType
from tests.peers.support import PASSWORD, USER, Display, Service, StartService, eventually, running
from tests.peers.test_rfb_clients import SIZE, VIEWER, conforming, shows, window

VIEWER_PROGRAM = os.environ.get("RDPPROV_TIGERVNC", VIEWER[0])
TYPES = {"ra2": "RA2", "ra2-256": "RA2_256", "ra2ne": "RA2ne", "ra2ne-256": "RA2ne_256"}


@cache
def lacks_rsa_aes() -> bool:
    """Whether the viewer is too old."""
    shown = subprocess.run([VIEWER_PROGRAM, "--help"], capture_output=True, text=True, check=False)
    return "RA2ne_256" not in shown.stdout + shown.stderr


@pytest.fixture(autouse=True)
def _new_enough(_peers: None) -> None:
    if lacks_rsa_aes():
        pytest.skip(f"{VIEWER_PROGRAM} does not know RSA-AES (TigerVNC 1.13 or newer; RDPPROV_TIGERVNC names one)")


def tigervnc(service: Service, kind: str, *, password: str = PASSWORD) -> list[str]:
    """The viewer, which is to use this security type and no other."""
    return [
        "env",
        f"VNC_USERNAME={USER}",
        f"VNC_PASSWORD={password}",
        VIEWER_PROGRAM,
        f"-geometry={SIZE[0]}x{SIZE[1]}+0+0",
        f"-SecurityTypes={kind}",
        "-ReconnectOnError=0",
        "-AlertOnFatalError=0",
        f"127.0.0.1::{service.rfb_port}",
    ]


async def answer(display: Display, key: str) -> None:
    """The viewer shows the fingerprint of the server's key, and asks whether it is right: Return is yes, Escape no."""
    found: list[str] = []

    async def is_there() -> bool:
        search = await trio.run_process(
            ["xdotool", "search", "--onlyvisible", "--name", "Server key fingerprint"],
            env=display.environment,
            capture_stdout=True,
            check=False,
        )
        found[:] = search.stdout.decode().split()
        return bool(found)

    await eventually(is_there, "the question about the server's key")
    await display.xdotool("windowfocus", "--sync", found[0])
    await display.xdotool("key", key)


@pytest.mark.peer(*VIEWER)
@pytest.mark.parametrize("name", TYPES)
async def test_tigervnc_s_viewer_shows_the_desktop_and_types_into_it(
    display: Display, serving: StartService, name: str
) -> None:
    async with serving(rfb={"security": [name]}) as service, conforming(service):
        async with running(tigervnc(service, TYPES[name]), display):
            await answer(display, "Return")
            number, left, top = await window(display)

            async def is_resized() -> bool:
                return bool(service.desktops) and (service.desktops[-1].width, service.desktops[-1].height) == SIZE

            await eventually(is_resized, "the desktop's size")
            await shows(display, service)
            await display.xdotool("windowfocus", number)
            await display.xdotool("mousemove", left + 400, top + 300)
            await display.xdotool("type", "Hello World!")

            async def is_typed() -> bool:
                return service.desktops[-1].text == "Hello World!"

            await eventually(is_typed, "the text")
            await display.xdotool("mousemove", left + 60, top + 480, "mousedown", 1)
            await display.xdotool("mousemove", left + 300, top + 530, "mouseup", 1)
            await shows(display, service)
        assert len(service.trace_files()) == 1


@pytest.mark.peer(*VIEWER)
@pytest.mark.parametrize("name", ["ra2", "ra2ne"])
async def test_tigervnc_s_viewer_is_told_why_it_is_refused(display: Display, serving: StartService, name: str) -> None:
    async with serving(rfb={"security": [name]}) as service:
        async with running(tigervnc(service, TYPES[name], password="wrong"), display) as process:
            await answer(display, "Return")
            with trio.fail_after(20):
                await process.wait()
        assert "The user name or password is incorrect." in (display.home / "env.log").read_text()
        assert not service.trace_files()


@pytest.mark.peer(*VIEWER)
async def test_a_user_who_does_not_know_the_key_sends_no_password(display: Display, serving: StartService) -> None:
    async with serving(rfb={"security": ["ra2-256"]}) as service:
        async with running(tigervnc(service, TYPES["ra2-256"]), display) as process:
            await answer(display, "Escape")
            with trio.fail_after(20):
                await process.wait()
        assert not service.trace_files()
        async with connect_rfb(  # and harms nobody who does
            "127.0.0.1", service.rfb_port, security=[SecurityType.RA2_256], user=USER, password=PASSWORD
        ) as client:
            await client.first_picture.wait()
            assert client.server_key is not None
            assert len(fingerprint(client.server_key)) == 23


@pytest.mark.peer(*VIEWER)
async def test_by_default_the_viewer_takes_tls_and_without_it_rsa_aes(display: Display, serving: StartService) -> None:
    """No question comes with TLS, whose certificate it is told to trust."""
    async with serving(rfb={}) as service, conforming(service):
        plain = tigervnc(service, "RA2,RA2_256,X509Plain")
        trusting = [*plain[:-1], f"-X509CA={service.certificate_dir / 'self-signed.pem'}", plain[-1]]
        async with running(trusting, display):
            await window(display)
            await shows(display, service)
        async with running(tigervnc(service, "RA2,RA2_256"), display):
            await answer(display, "Return")
            await window(display)
            await shows(display, service)
