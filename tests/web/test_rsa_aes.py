"""noVNC logs on by RSA-AES: another implementation of it, whose user is asked about the server's key."""

from contextlib import asynccontextmanager

import pytest
import trio

from rdpprov.accounts.authenticator import FileAuthenticator
from rdpprov.accounts.users_file import ScryptCost, UsersFile
from rdpprov.rcm.configuration import ListenerConfiguration, ServiceConfiguration
from rdpprov.rcm.service import RemoteConnectionManager
from rdpprov.security.ra2 import fingerprint, public_key_of
from rdpprov.security.ra2_key import generated_key
from rdpprov.sessions.demo import DemoDesktop
from rdpprov.sessions.factories import logon_desktop_factory
from rdpprov.web.configuration import WebConfiguration
from rdpprov.web.server import WebServer
from tests.web.support import Web, browser
from tests.web.test_desktops import shows

pytestmark = pytest.mark.xdist_group("chromium")

USER, PASSWORD = "ann", "correct horse é"

CONNECT = """(async () => {
  const { RFB } = await import("./novnc.js");
  const url = new URL("websocket", location.href);
  url.protocol = "ws:";
  window.told = {};
  const rfb = new RFB(document.querySelector("#screen"), url.href,
    { credentials: { username: "ann", password: PASSWORD } });
  rfb.addEventListener("connect", () => { told.connected = true; });
  rfb.addEventListener("disconnect", () => { told.ended = true; });
  rfb.addEventListener("securityfailure", (event) => { told.reason = event.detail.reason; });
  rfb.addEventListener("serververification", async (event) => {
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-1", event.detail.publickey));
    told.fingerprint = Array.from(hash.slice(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("-");
    rfb.approveServer();
  });
})()"""


@asynccontextmanager
async def serving(home):
    """A service for browsers that offers nothing but RSA-AES."""
    users = UsersFile(home / "users", cost=ScryptCost(n=16))
    users.add(USER, PASSWORD)
    desktops = []

    def desktop(request):
        desktops.append(DemoDesktop(request))
        desktops[-1].stop_clock()
        return desktops[-1]

    options = {"sockets": False, "security": ["ra2ne"], "state_dir": str(home)}
    manager = RemoteConnectionManager(
        ServiceConfiguration(listeners=[ListenerConfiguration("web", "rfb", options)]),
        authenticator=FileAuthenticator(users),
        desktop_factory=desktop,
        logon_desktop_factory=logon_desktop_factory(),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.serve)
        server = WebServer(WebConfiguration(host="127.0.0.1", port=0, state_dir=home), manager.provider_listener("web"))
        await nursery.start(server.serve)
        yield Web(server, server.bound_addresses[0][1]), desktops
        server.request_stop()
        manager.request_stop()


async def test_novnc_sees_the_desktop_and_the_fingerprint_that_the_server_logs(tmp_path):
    async with serving(tmp_path) as (web, desktops), browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.open(web.url)
            await page.evaluate(CONNECT.replace("PASSWORD", repr(PASSWORD)))
            await page.wait_for("told.connected || told.ended")
            assert await page.evaluate("told.connected")
            assert await page.evaluate("told.fingerprint") == fingerprint(public_key_of(generated_key(tmp_path)))
            await shows(page, desktops[-1])


async def test_novnc_is_told_why_it_is_refused(tmp_path):
    async with serving(tmp_path) as (web, desktops), browser(tmp_path) as page:
        with trio.fail_after(60):
            await page.open(web.url)
            await page.evaluate(CONNECT.replace("PASSWORD", repr("wrong")))
            await page.wait_for("told.ended")
            assert await page.evaluate("told.reason") == "The user name or password is incorrect."
        assert desktops == []
