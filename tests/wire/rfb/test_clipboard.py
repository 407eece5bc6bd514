import tracemalloc
import zlib

import pytest
from construct import GreedyBytes, Int32ub, Struct
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.clipboard import (
    ALL_ACTIONS,
    ClipboardAction,
    ClipboardCaps,
    ClipboardFormat,
    ClipboardNotify,
    ClipboardPeek,
    ClipboardProvide,
    ClipboardRequest,
    bytes_of,
    latin1_bytes_of,
    latin1_text_of,
    text_of,
    unpack_clipboard_message,
)

LIMIT = 1000
formats = st.sets(st.sampled_from(ClipboardFormat)).map(sum)
messages = st.one_of(
    st.builds(
        ClipboardCaps,
        st.sets(st.sampled_from(sorted(set(ClipboardAction) - {ClipboardAction.CAPS}))).map(sum),
        st.dictionaries(st.sampled_from(ClipboardFormat), st.integers(0, 2**32 - 1)),
    ),
    st.builds(ClipboardRequest, formats),
    st.just(ClipboardPeek()),
    st.builds(ClipboardNotify, formats),
    st.builds(ClipboardProvide, st.dictionaries(st.sampled_from(ClipboardFormat), st.binary(max_size=LIMIT))),
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"))


@given(messages)
def test_every_message_round_trips(message):
    assert unpack_clipboard_message(message.pack(), limit=LIMIT) == message


@given(st.binary(max_size=100))
def test_any_bytes_are_a_message_or_our_error(data):
    try:
        unpack_clipboard_message(data, limit=LIMIT)
    except DecodeError:
        return


@given(st.dictionaries(st.sampled_from(ClipboardFormat), st.binary(max_size=50)), st.binary(max_size=30))
def test_a_provide_with_any_stream_is_read_or_refused(contents, garbage):
    packed = ClipboardProvide(contents).pack()
    for data in (packed + garbage, packed[:-6], packed[:4] + garbage, packed[:8] + garbage + packed[8:]):
        try:
            unpack_clipboard_message(data, limit=LIMIT)
        except DecodeError:
            continue


def test_the_messages_that_clients_send():
    caps = unpack_clipboard_message(bytes.fromhex("1f00000100000000"), limit=LIMIT)
    assert caps == ClipboardCaps(ALL_ACTIONS, {ClipboardFormat.TEXT: 0})
    assert caps.pack().hex() == "1f00000100000000"  # TigerVNC's and noVNC's
    assert unpack_clipboard_message(bytes.fromhex("08000001"), limit=LIMIT) == ClipboardNotify(ClipboardFormat.TEXT)
    assert ClipboardRequest().pack().hex() == "02000001"
    assert ClipboardPeek().pack().hex() == "04000000"


@pytest.mark.parametrize("flags", ["00000000", "00000001", "06000000", "18000001", "20000000", "80000000"])
def test_a_message_is_one_action(flags):
    with pytest.raises(DecodeError, match="not one action"):
        unpack_clipboard_message(bytes.fromhex(flags), limit=LIMIT)


@pytest.mark.parametrize("data", ["", "1f", "1f000001", "1f00000300000000", "10000001", "1000000100"])
def test_a_message_that_is_cut_off_is_refused(data):
    with pytest.raises(DecodeError):
        unpack_clipboard_message(bytes.fromhex(data), limit=LIMIT)


def provide(flags, plain, *, finish=False):
    stream = zlib.compressobj(9)
    compressed = stream.compress(plain) + stream.flush(zlib.Z_FINISH if finish else zlib.Z_SYNC_FLUSH)
    return (ClipboardAction.PROVIDE | flags).to_bytes(4, "big") + compressed


def test_a_provide_is_what_its_construct_definition_says():
    data = ClipboardProvide({ClipboardFormat.HTML: b"<b>", ClipboardFormat.TEXT: b"b\0"}).pack()
    parsed = Struct("flags" / Int32ub, "stream" / GreedyBytes).parse(data)
    assert parsed.flags == 0x10000005
    stream = zlib.decompressobj()
    assert stream.decompress(parsed.stream) == b"\0\0\0\x02b\0\0\0\0\x03<b>"
    assert not stream.eof  # peers choke on a stream that has ended


def test_a_stream_may_have_ended():
    data = provide(ClipboardFormat.TEXT, b"\0\0\0\x02b\0", finish=True)
    assert unpack_clipboard_message(data, limit=LIMIT) == ClipboardProvide({ClipboardFormat.TEXT: b"b\0"})


def test_what_is_too_long_is_left_out_and_nothing_of_it_inflated():
    flags = ClipboardFormat.TEXT | ClipboardFormat.HTML
    data = provide(flags, (1 << 30).to_bytes(4, "big") + bytes(50_000_000))
    assert len(data) < 100_000
    tracemalloc.start()
    try:
        assert unpack_clipboard_message(data, limit=LIMIT) == ClipboardProvide({})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_a_text_that_fits_is_kept_when_what_follows_does_not():
    data = provide(ClipboardFormat.TEXT | ClipboardFormat.HTML, b"\0\0\0\x02b\0" + b"\xff" * 4 + bytes(1000))
    assert unpack_clipboard_message(data, limit=LIMIT) == ClipboardProvide({ClipboardFormat.TEXT: b"b\0"})


def test_a_size_that_the_stream_does_not_have_is_refused():
    with pytest.raises(DecodeError, match="needs 200 bytes, 50 left"):
        unpack_clipboard_message(provide(ClipboardFormat.TEXT, b"\0\0\0\xc8" + bytes(50)), limit=LIMIT)


@given(texts)
def test_a_text_comes_out_as_it_went_in(text):
    data = bytes_of(text)
    assert data.endswith(b"\0")
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert text_of(data) == text


@given(st.binary())
def test_any_bytes_are_a_text(data):
    assert "\r" not in text_of(data)
    assert "\r" not in latin1_text_of(data)


def test_lines_end_by_line_feed_on_our_side():
    assert text_of(b"a\r\nb\rc\nd\0") == "a\nb\nc\nd"
    assert latin1_text_of(b"a\r\nb\rc\nd\xe9") == "a\nb\nc\nd\xe9"
    assert bytes_of("a\r\nb") == b"a\r\nb\0"


def test_latin_1_has_question_marks_for_the_rest():
    assert latin1_bytes_of("é ß 中\r\n") == b"\xe9 \xdf ?\n"


def test_contents_stay_out_of_what_is_printed():
    assert "hunter2" not in repr(ClipboardProvide({1: b"hunter2"}))
