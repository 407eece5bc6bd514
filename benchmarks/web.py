"""What a browser waits for, and what its bytes cost: the page in Chromium, and a WebSocket beside a bare TCP stream.

    python benchmarks/web.py [--loads N] [--mebibytes N] [--json FILE]

README.md beside this file says what each figure means.
"""

import argparse
import json
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import trio

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import about, show, verdict

from tests.web.support import EchoListener, Listener, browser, serving

TARGET_MILLISECONDS = 1000
BLOCK = bytes(64 * 1024)
TIMES = """(() => {
  const page = performance.getEntriesByType('navigation')[0];
  return [page.loadEventEnd, page.domInteractive];
})()"""


async def load_times(home, loads):
    """Rows of the page, each median and most, in milliseconds."""
    times = {"empty": [], "full": []}
    async with serving(EchoListener(), home, tls=True) as web, browser(home) as page:
        await page.open(web.url)
        for _ in range(loads):
            for cache in times:
                await page.call("Network.setCacheDisabled", cacheDisabled=cache == "empty")
                await page.open("about:blank", ready="document.readyState === 'complete'")
                await page.open(web.url)
                await page.wait_for("performance.getEntriesByType('navigation')[0].loadEventEnd > 0")
                times[cache].append(await page.evaluate(TIMES))
    return [
        {
            "cache": cache,
            "load ms": round(median(load for load, _ in taken), 1),
            "most": round(max(load for load, _ in taken), 1),
            "form ms": round(median(form for _, form in taken), 1),
        }
        for cache, taken in times.items()
    ]


@asynccontextmanager
async def websocket(home, tls, serve):
    """The client's stream, below its WebSocket."""
    async with serving(Listener(serve), home, tls=tls) as web, web.websocket() as client:
        yield client.stream


@asynccontextmanager
async def bare(_home, _tls, serve):
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        port = listeners[0].socket.getsockname()[1]
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            yield stream
        nursery.cancel_scope.cancel()


async def throughput(home, connect, tls, mebibytes):
    """Megabytes a second, and CPU for each."""

    async def serve(stream):
        try:
            for _ in range(mebibytes * 16):
                await stream.send_all(BLOCK)
        except trio.BrokenResourceError:
            pass

    received = 0
    async with connect(home, tls, serve) as stream:
        started, cpu = time.perf_counter(), time.process_time()
        while received < mebibytes << 20:
            received += len(await stream.receive_some(1 << 20))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    return {"MiB/s": round(mebibytes / seconds), "CPU ms/MiB": round(1000 * cpu / mebibytes, 2)}


async def measure(plan):
    with tempfile.TemporaryDirectory() as home:
        pages = await load_times(Path(home), plan.loads)
        streams = [
            {"stream": name, **await throughput(Path(home), connect, False, plan.mebibytes)}
            for name, connect in (("bare TCP", bare), ("WebSocket", websocket))
        ]
    return pages, streams


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loads", type=int, default=20)
    parser.add_argument("--mebibytes", type=int, default=512)
    parser.add_argument("--json", type=Path)
    plan = parser.parse_args()
    pages, streams = trio.run(measure, plan)
    show("The page", pages)
    show("The stream", streams)
    slowest = max(page["most"] for page in pages)
    show("Target", [verdict("the page, in ms", slowest, TARGET_MILLISECONDS)])
    if plan.json:
        plan.json.write_text(json.dumps({"about": about(), "pages": pages, "streams": streams}, indent=2))


if __name__ == "__main__":
    main()
