"""The page's files, as any client gets them."""

import re
import ssl
from importlib import resources

import pytest
import trio

from rdpprov.security.certificates import self_signed_certificate
from rdpprov.web.application import SECURITY_HEADERS
from rdpprov.web.configuration import WebLimits
from tests.web.support import EchoListener, Refused, exchange, open_websocket, send_for_ever, serving, trusting

STATIC = resources.files("rdpprov.web").joinpath("static")
TEXTS = [file for file in STATIC.iterdir() if not file.name.startswith("novnc")]


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/novnc.js", "text/javascript; charset=utf-8"),
        ("/novnc.LICENSE.txt", "text/plain; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
async def test_every_file_comes_with_its_type_and_can_be_asked_for_again_without_being_sent(
    tmp_path, path, content_type
):
    async with serving(EchoListener(), tmp_path) as web:
        plain = await web.get(path)
        assert (plain.status, plain.headers["content-type"]) == (200, content_type)
        assert len(plain.body) == int(plain.headers["content-length"])
        compressed = await web.get(path, accept_encoding="deflate, gzip;q=0.5")
        assert compressed.headers["content-encoding"] == "gzip"
        assert compressed.text == plain.text
        assert compressed.headers["etag"] != plain.headers["etag"]
        refused = await web.get(path, accept_encoding="gzip;q=0")
        assert refused.body == plain.body
        for etag in (plain.headers["etag"], f'"other", W/{plain.headers["etag"]}', "*"):
            again = await web.get(path, if_none_match=etag)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", plain.headers["etag"])
        assert (await web.get(path, if_none_match=compressed.headers["etag"])).status == 200
        head = await web.get(path, "HEAD")
        assert (head.status, head.body, head.headers["content-length"]) == (200, b"", plain.headers["content-length"])


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/", "GET", 200),
        ("/nothing.js", "GET", 404),
        ("/../pyproject.toml", "GET", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", "GET", 404),
        ("/index.html%00", "GET", 404),
        ("/websocket", "GET", 404),
        ("/", "POST", 405),
        ("/", "DELETE", 405),
    ],
)
async def test_every_answer_forbids_frames_scripts_and_requests_of_strangers(tmp_path, path, method, status):
    async with serving(EchoListener(), tmp_path) as web:
        answer = await web.get(path, method)
    assert answer.status == status
    assert SECURITY_HEADERS.items() <= answer.headers.items()
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert "server" not in answer.headers


async def test_a_page_for_another_host_is_refused_with_the_reason(tmp_path):
    """A name of a stranger's that means our address now: their page would be ours, for the browser."""
    async with serving(EchoListener(), tmp_path, allowed_hosts=["desk.example"]) as web:
        refused = await web.get("/", host="rebound.example")
        assert refused.status == 421
        reason = "'rebound.example' is not a name of this server: allowed_hosts in the table [web] has its names\n"
        assert refused.text == reason
        for host in ("desk.example", f"desk.example:{web.port}", f"localhost:{web.port}", "192.0.2.1"):
            assert (await web.get("/", host=host)).status == 200
        async with await web.connect() as stream:
            with pytest.raises(Refused) as caught:
                await open_websocket(stream, "rebound.example", "/websocket", [], {"origin": "http://rebound.example"})
        assert caught.value.status == 403


async def test_a_connection_serves_several_requests(tmp_path):
    async with serving(EchoListener(), tmp_path) as web, await web.connect() as stream:
        for _ in range(3):
            assert (await exchange(stream, "/page.js", "GET", {"host": web.host})).status == 200


def test_the_page_names_only_files_that_are_there():
    page = STATIC.joinpath("index.html").read_text()
    named = set(re.findall(r'(?:src|href)="([^"#]+)"', page))
    assert named == {"icon.svg", "page.css", "page.js", "novnc.js", "novnc.LICENSE.txt"}
    assert all(STATIC.joinpath(name).is_file() for name in named)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r'id="([^"]+)"', page))


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.name)
def test_no_file_of_ours_names_another_server(file):
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")  # the name of SVG, which nobody fetches
    assert not re.findall(r"(?:https?|wss?)?://(?!\s)[^\s\"'`)]+", text)
    assert not re.findall(r"@import|url\(|@font-face", text)


def test_the_viewer_names_another_server_only_in_its_licence_line():
    banner, _, code = STATIC.joinpath("novnc.js").read_text().partition("\n")
    assert banner.startswith("/*! noVNC ")
    assert banner.endswith("*/")
    assert "MPL-2.0" in banner
    assert not re.findall(r"(?:https?|wss?)://[a-z]", code)


def test_the_page_has_neither_inline_scripts_nor_inline_styles():
    page = STATIC.joinpath("index.html").read_text()
    assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert re.findall(r"<script[^>]*>(.*?)</script>", page, re.S) == [""]


def test_every_control_has_a_name_for_people_who_do_not_see_it():
    page = STATIC.joinpath("index.html").read_text()
    labelled = set(re.findall(r'<label for="([^"]+)"', page))
    for tag in re.findall(r"<(?:input|textarea)[^>]*>", page):
        assert "aria-label=" in tag or re.search(r'id="([^"]+)"', tag)[1] in labelled, tag
    for tag, content in re.findall(r"(<button[^>]*>)(.*?)</button>", page, re.S):
        assert "aria-label=" in tag or re.sub(r"<[^>]+>", "", content).strip(), tag


def test_the_ids_that_the_script_looks_for_are_in_the_page():
    page, script = (STATIC.joinpath(name).read_text() for name in ("index.html", "page.js"))
    ids = set(re.findall(r'\bat\("([^"]+)"\)', script))
    for names in re.findall(r"\[([^\]]+)\]\.map\(at\)", script):
        ids |= set(re.findall(r'"([^"]+)"', names))
    assert ids <= set(re.findall(r'id="([^"]+)"', page))
    assert len(ids) > 15


def test_the_licences_of_the_viewer_are_with_it():
    licences = STATIC.joinpath("novnc.LICENSE.txt").read_text()
    for words in ("Mozilla Public License Version 2.0", "The MIT License", "Jef Poskanzer", "The noVNC authors"):
        assert words in licences


async def test_with_tls_there_is_https_and_nothing_else(tmp_path):
    async with serving(EchoListener(), tmp_path, tls=True) as web:
        assert web.server.scheme == "https"
        context = trusting()
        context.set_alpn_protocols(["h2", "http/1.1"])
        async with await web.connect() as stream:
            tls = trio.SSLStream(stream, context, https_compatible=True)
            assert (await exchange(tls, "/", "GET", {"host": web.host})).status == 200
            assert tls.selected_alpn_protocol() == "http/1.1"
            shown = tls.getpeercert(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(shown) in self_signed_certificate(tmp_path).read_text()
        async with await web.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not (await stream.receive_some(5)).startswith(b"HTTP")


@pytest.mark.parametrize("limits", [WebLimits(handshake=0.05)])
@pytest.mark.parametrize("said", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_a_client_that_does_not_get_to_the_end_of_its_request_is_dropped(tmp_path, limits, said):
    async with serving(EchoListener(), tmp_path, limits=limits) as web, await web.connect() as stream:
        await stream.send_all(said)
        with trio.fail_after(5):
            assert await stream.receive_some() == b""


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100000,
    ],
    ids=lambda said: said[:14].decode("latin1"),
)
async def test_nonsense_costs_one_connection_and_never_leads_to_http_2(tmp_path, logged, said):
    limits = WebLimits(handshake=0.2, request=0.2)
    async with serving(EchoListener(), tmp_path, limits=limits) as web:
        async with await web.connect() as stream:
            answer = b""
            with trio.fail_after(10):
                try:
                    await stream.send_all(said)
                    while part := await stream.receive_some():
                        answer += part
                except trio.BrokenResourceError:
                    pass
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 200"))
        assert (await web.get()).status == 200
    assert [entry for entry in logged if entry["log_level"] in ("error", "critical")] == []


async def test_connections_beyond_the_limit_of_an_address_are_closed_at_once_and_others_served(tmp_path):
    limits = WebLimits(connections_per_address=2, connections=3)
    async with serving(EchoListener(), tmp_path, limits=limits) as web:
        async with await web.connect() as one, await web.connect() as two:
            for stream in (one, two):
                assert (await exchange(stream, "/icon.svg", "GET", {"host": web.host})).status == 200
            async with await web.connect() as third:
                assert await ended(third)
            async with await web.connect("127.0.0.2") as other:
                assert (await exchange(other, "/icon.svg", "GET", {"host": web.host})).status == 200
                async with await web.connect("127.0.0.3") as fourth:
                    assert await ended(fourth)
        async with await web.connect() as later:
            assert (await exchange(later, "/icon.svg", "GET", {"host": web.host})).status == 200


async def ended(stream):
    with trio.fail_after(5):
        try:
            return await stream.receive_some() == b""
        except trio.BrokenResourceError:
            return True


async def test_a_client_that_does_not_read_its_answer_is_dropped(tmp_path):
    limits = WebLimits(send=0.1)
    async with serving(EchoListener(), tmp_path, limits=limits) as web, await web.connect() as stream:
        request = f"GET /novnc.js HTTP/1.1\r\nHost: {web.host}\r\n\r\n".encode()
        with trio.fail_after(10), pytest.raises(trio.BrokenResourceError):
            await send_for_ever(stream, request * 100)
