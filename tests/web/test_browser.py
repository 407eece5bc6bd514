"""The page in Chromium: that it works where it will be used, and says what goes wrong."""

from urllib.parse import urlsplit

import pytest
import trio

from rdpprov.web.configuration import WebLimits
from tests.web.support import EchoListener, Listener, browser, serving

pytestmark = pytest.mark.xdist_group("chromium")

SIZES = [
    pytest.param({"width": 1280, "height": 800}, id="wide"),
    pytest.param({"width": 390, "height": 844, "mobile": True}, id="phone"),
    pytest.param({"width": 844, "height": 390, "mobile": True, "dark": True}, id="phone, turned, dark"),
    pytest.param({"width": 320, "height": 568, "mobile": True, "dark": True}, id="small phone, dark"),
]


@pytest.mark.parametrize("size", SIZES)
async def test_the_page_fits_asks_nobody_else_and_has_nothing_to_complain_about(tmp_path, size):
    async with serving(EchoListener(), tmp_path) as web, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.size(**size)
            await page.open(web.url)
            assert await page.evaluate("document.querySelector('#server').textContent") == web.host
            assert await page.evaluate("document.activeElement.id") == "user"
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for control in ("#user", "#password", "#connect"):
                box = await page.box(control)
                assert box["left"] >= 0
                assert box["right"] <= size["width"]
                assert box["height"] >= 40  # for fingers
            back = await page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert back == ("rgb(16, 20, 28)" if size.get("dark") else "rgb(243, 245, 249)")
        assert {urlsplit(url).netloc for url in page.requests} == {web.host}
        assert page.problems == []


async def test_in_tls_the_page_and_its_websocket_work_too(tmp_path):
    peers = []

    async def serve(stream):
        peers.append(await stream.send_all(b"RFB 003.008\n"))

    async with serving(Listener(serve), tmp_path, tls=True) as web, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.open(web.url)
            await page.log_on("ann", "secret")
            await page.wait_for("!document.querySelector('#message').hidden")
        assert f"wss://{web.host}/websocket" in page.requests
        assert len(peers) == 1


async def message_after(tmp_path, serve, **limits):
    """What the page says after an attempt to log on."""
    async with serving(Listener(serve), tmp_path, limits=WebLimits(**limits)) as web, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.open(web.url)
            await page.log_on("ann", "secret")
            await page.wait_for("document.body.dataset.state === 'idle'")
            assert await page.evaluate("document.querySelector('#message').classList.contains('failed')")
            assert await page.evaluate("document.activeElement.id") == "password"
            assert not await page.evaluate("document.querySelector('#connect').disabled")
            return await page.evaluate("document.querySelector('#message').textContent")


async def test_a_server_that_hangs_up_is_named_as_the_one_who_did(tmp_path):
    async def serve(stream):
        await stream.send_all(b"RFB 003.008\n")

    assert await message_after(tmp_path, serve) == "The server ended the connection."


async def test_the_reason_of_a_refusal_is_shown(tmp_path):
    async def serve(stream):
        await stream.send_all(b"RFB 003.008\n")
        await stream.receive_some()
        reason = b"too many attempts, try again later"
        await stream.send_all(b"\0" + len(reason).to_bytes(4, "big") + reason)

    assert await message_after(tmp_path, serve) == "Too many attempts, try again later."


async def test_the_reason_of_a_close_frame_is_shown(tmp_path):
    async def serve(stream):
        await stream.send_all(b"RFB 003.008\n")
        stream.close_with(1001, "the server stops")

    assert await message_after(tmp_path, serve) == "The server closed the connection: the server stops."


async def test_a_server_that_takes_no_websocket_is_said_to_be_out_of_reach(tmp_path):
    async with serving(EchoListener(), tmp_path) as web, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.open(web.url)
            web.server.request_stop()
            await page.log_on("ann", "secret")
            await page.wait_for("document.body.dataset.state === 'idle'")
            said = await page.evaluate("document.querySelector('#message').textContent")
    assert said == "The server cannot be reached, or does not accept connections from this page."


async def test_connecting_can_be_cancelled(tmp_path):
    async def serve(stream):
        await stream.receive_some()

    async with serving(Listener(serve), tmp_path) as web, browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.open(web.url)
            await page.log_on("ann", "secret")
            assert await page.evaluate("document.body.dataset.state") == "connecting"
            await page.click("#cancel")
            await page.wait_for("document.body.dataset.state === 'idle'")
            assert await page.evaluate("document.querySelector('#message').textContent") == "Cancelled."
