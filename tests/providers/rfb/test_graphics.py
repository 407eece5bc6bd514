"""The display alone, with a client that says things at the worst moment: nothing here depends on who is faster."""

import pytest
import trio

from rdpprov.protocol.events import NEED_DATA, PAUSED
from rdpprov.protocol.rfb.events import (
    DesktopSizeRequested,
    EncodingsChanged,
    FenceAnswered,
    PixelFormatChanged,
    UpdateRequested,
)
from rdpprov.protocol.rfb.server import RfbServerMachine, ServerOptions
from rdpprov.providers.rfb.graphics import RfbVideoDevice
from rdpprov.wire.rfb.encodings import Encoding
from rdpprov.wire.rfb.messages import FramebufferUpdateRequest, SetEncodings, SetPixelFormat
from rdpprov.wire.rfb.pixel_format import COLOUR_MAP, RGB565
from rdpprov.wire.rfb.rectangles import desktop_size
from rdpprov.wire.rfb.screens import ResizeStatus
from tests.providers.rfb.support import Desk


class Display:
    """A display with a desktop, whose client has had ServerInit."""

    def __init__(self, width, height):
        self.desk = Desk(width, height)
        self.machine = RfbServerMachine(ServerOptions(), challenge=bytes(16))
        self.video = RfbVideoDevice(self.machine, lambda: None, lambda: None)
        self.video.plug(self.desk.open_screen(self.video.damaged))
        self.video.connected()
        self.tell(b"RFB 003.008\n\x01\x01")
        self.video.queue_piece()
        self.machine.data_to_send()

    def tell(self, data):
        """What the client says, handled as the connection does."""
        self.machine.receive_data(data)
        while (event := self.machine.next_event()) not in (NEED_DATA, PAUSED):
            match event:
                case EncodingsChanged():
                    self.video.encodings_changed()
                case PixelFormatChanged():
                    self.video.pixel_format_changed()
                case UpdateRequested(incremental=incremental, area=area):
                    self.video.requested(area, incremental=incremental)
                case FenceAnswered(payload=payload):
                    self.video.fence_answered(payload)

    def ask(self, *, incremental=False):
        self.tell(FramebufferUpdateRequest(incremental, 0, 0, 0xFFFF, 0xFFFF).pack())

    async def frame(self):
        """What goes out until nothing is due any more."""
        await trio.sleep(1)
        while (due := self.video.due()) is not None and due <= trio.current_time():
            self.video.queue_piece()
        return self.machine.data_to_send()


@pytest.mark.parametrize("then", [(), (Encoding.RAW,), (Encoding.ZRLE,)], ids=str)
async def test_an_update_that_was_begun_ends_in_the_encodings_that_the_client_had_named(autojump_clock, then):
    display = Display(2100, 1300)
    display.desk.paint(1)
    display.tell(SetEncodings((Encoding.TIGHT, Encoding.CURSOR)).pack())  # no LastRect: it goes out when it is whole
    display.ask()
    display.video.queue_piece()
    assert not display.machine.data_to_send()
    display.tell(SetEncodings(then).pack())
    assert display.machine.data_to_send()[:1] == b"\0"  # what the streams have taken goes out
    display.ask()
    assert await display.frame()


async def test_a_size_is_told_when_the_client_says_that_it_can_be(autojump_clock):
    display = Display(640, 480)
    display.ask()
    await display.frame()
    await display.desk.resize(800, 600)
    display.ask(incremental=True)
    told = desktop_size(800, 600).pack()
    assert told not in await display.frame()
    display.tell(SetEncodings((Encoding.RAW, Encoding.DESKTOP_SIZE)).pack())
    display.ask(incremental=True)
    assert await display.frame() == b"\0\0\0\1" + told
    display.ask(incremental=True)
    assert told not in await display.frame()


async def test_the_first_picture_does_not_wait_because_the_size_was_told_before_it(autojump_clock):
    display = Display(64, 48)
    display.tell(SetEncodings((Encoding.RAW, Encoding.EXTENDED_DESKTOP_SIZE)).pack())
    display.ask()
    display.video.queue_piece()
    told = len(display.machine.data_to_send())
    assert 0 < told < 100
    display.ask(incremental=True)
    display.video.queue_piece()
    assert len(display.machine.data_to_send()) > 64 * 48 * 4
    display.desk.paint(1)
    display.ask(incremental=True)
    display.video.queue_piece()
    assert not display.machine.data_to_send()  # frames do wait for each other
    assert display.video.due() > trio.current_time()


async def test_a_wish_for_a_size_that_cannot_be_answered_uses_up_no_request(autojump_clock):
    display = Display(640, 480)
    display.tell(SetEncodings((Encoding.RAW, Encoding.EXTENDED_DESKTOP_SIZE)).pack())
    display.ask()
    await display.frame()
    display.tell(SetEncodings((Encoding.RAW,)).pack())
    display.ask(incremental=True)
    wish = DesktopSizeRequested(1, 1, (), "no screen")
    display.video.answer_desktop_size(wish, ResizeStatus.INVALID_LAYOUT)
    display.desk.paint(1)
    assert await display.frame()


async def test_a_colour_map_comes_before_the_pixels_that_need_it_and_once(autojump_clock):
    display = Display(64, 48)
    display.tell(SetPixelFormat(COLOUR_MAP).pack() * 100)
    assert not display.machine.data_to_send()
    display.ask()
    said = await display.frame()
    size = 6 + 6 * 256
    assert (said[:6], said[size : size + 4]) == (b"\1\0\0\0\1\0", b"\0\0\0\1")
    display.tell(SetPixelFormat(COLOUR_MAP).pack() + SetPixelFormat(RGB565).pack())
    display.ask()
    assert (await display.frame())[:4] == b"\0\0\0\1"
