from enum import IntEnum
from struct import Struct

import attrs
import construct
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError, RemoteProtocolError
from rdpprov.wire import base
from rdpprov.wire.base import DecodeError, Reader


@attrs.frozen
class Sample:
    small: int = base.uint8(default=0)
    maybe: int | None = base.uint16(optional=True)
    signed: int = base.int16(default=0)
    key: bytes = base.fixed_bytes(4, default=bytes(4))
    some: bytes = base.bounded_bytes(4, default=b"")
    name: str = base.bounded_text(6, default="")


def test_a_decode_error_is_the_peers_fault():
    assert issubclass(DecodeError, RemoteProtocolError)


def test_the_reader_reads_every_kind_of_number_in_order():
    reader = Reader(bytes(range(1, 30)), "sample")
    assert reader.u8() == 0x01
    assert reader.u16() == 0x0302
    assert reader.u16be() == 0x0405
    assert reader.u32() == 0x09080706
    assert reader.u64() == 0x11100F0E0D0C0B0A
    assert reader.take(2) == b"\x12\x13"
    assert reader.fields(Struct("<BH")) == (0x14, 0x1615)
    assert bytes(reader.view(2)) == b"\x17\x18"
    reader.skip(1)
    assert (reader.peek(), reader.offset, reader.remaining) == (0x1A, 25, 4)
    assert reader.rest() == b"\x1a\x1b\x1c\x1d"
    assert reader.peek() is None
    reader.finish()


def test_the_reader_reads_signed_numbers():
    reader = Reader(b"\xff\xff\xfe\xff\xff\xff", "sample")
    assert (reader.i16(), reader.i32()) == (-1, -2)


@pytest.mark.parametrize("read", ["u8", "u16", "u16be", "u32", "u64", "i16", "i32"])
def test_reading_behind_the_end_says_what_was_needed_and_leaves_the_cursor(read):
    reader = Reader(b"", "TS_SAMPLE")
    with pytest.raises(DecodeError, match=r"^TS_SAMPLE: needs \d bytes, 0 left$"):
        getattr(reader, read)()
    assert reader.offset == 0


@pytest.mark.parametrize("count", [-1, 5, 2**64])
def test_impossible_counts_are_refused_before_they_are_used(count):
    reader = Reader(b"1234", "sample")
    for read in (reader.take, reader.view, reader.skip, reader.block):
        with pytest.raises(DecodeError):
            read(count)
    assert reader.remaining == 4


def test_a_block_checks_its_own_end():
    reader = Reader(b"\x01\x02\x03\x04", "outer")
    with reader.block(2, "inner") as block:
        assert block.u16() == 0x0201
    with pytest.raises(DecodeError, match=r"^inner: 1 bytes too many$"), reader.block(2, "inner") as block:
        block.u8()
    reader.finish()


def test_a_block_cannot_be_left_towards_the_outer_bytes():
    reader = Reader(b"\x01\x02\x03\x04", "outer")
    block = reader.block(2)
    with pytest.raises(DecodeError):
        block.u32()


def test_an_error_inside_a_block_is_not_covered_by_the_check_of_its_end():
    with pytest.raises(DecodeError, match="mine"), Reader(b"\x01", "outer").block(1):
        raise DecodeError("mine")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("small", 256),
        ("small", -1),
        ("small", "1"),
        ("maybe", 65536),
        ("signed", 32768),
        ("key", b"123"),
        ("key", "1234"),
        ("some", b"12345"),
        ("name", "abcd"),
        ("name", "a\0b"),
        ("name", "\ud800"),
        ("name", b"ab"),
    ],
)
def test_a_value_that_does_not_fit_is_our_callers_fault_and_the_field_is_named(field, value):
    with pytest.raises(LocalProtocolError, match=rf"^Sample\.{field}: ") as caught:
        Sample(**{field: value})
    if field in ("key", "some", "name"):  # they may be secrets
        assert repr(value) not in str(caught.value)
        assert caught.value.__cause__ is None


def test_what_fits_is_taken():
    sample = Sample(255, 65535, -32768, b"1234", b"", "abc")
    assert attrs.astuple(sample) == (255, 65535, -32768, b"1234", b"", "abc")
    assert Sample().maybe is None


def test_construct_errors_become_ours_on_both_ways():
    definition = construct.Struct("a" / construct.Int16ul, "b" / construct.Const(b"x"))
    parsed, rest = base.parse_with(definition, b"\x01\x00xrest", "TS_SAMPLE")
    assert (parsed.a, rest) == (1, b"rest")
    assert base.build_with(definition, {"a": 1}, "TS_SAMPLE") == b"\x01\x00x"
    with pytest.raises(DecodeError, match=r"^TS_SAMPLE: ") as caught:
        base.parse_with(definition, b"\x01", "TS_SAMPLE")
    assert "\n" not in str(caught.value)
    with pytest.raises(LocalProtocolError, match=r"^TS_SAMPLE: "):
        base.build_with(definition, {"a": -1}, "TS_SAMPLE")


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=15))
def test_texts_round_trip_in_both_forms(text):
    assert base.utf16_text(base.utf16_bytes(text)) == text
    assert base.utf16_text(base.utf16_bytes(text, 64)) == text
    assert len(base.utf16_bytes(text, 64)) == 64


@given(st.binary(max_size=40))
def test_any_bytes_are_some_text_without_nul(data):
    for text in (base.utf16_text(data), base.ansi_text(data)):
        assert "\0" not in text
        text.encode("utf-8")


@given(st.binary(max_size=15))
def test_ansi_texts_lose_nothing_before_the_nul(data):
    text = base.ansi_text(data)
    assert base.ansi_bytes(text) == data.partition(b"\0")[0] + b"\0"
    assert base.ansi_bytes(text, 16) == data.partition(b"\0")[0].ljust(16, b"\0")


def test_a_text_that_does_not_fit_with_its_nul_is_refused():
    with pytest.raises(LocalProtocolError):
        base.utf16_bytes("abcd", 8)
    with pytest.raises(LocalProtocolError):
        base.ansi_bytes("abcd", 4)
    with pytest.raises(LocalProtocolError):
        base.ansi_bytes("€")


def test_a_code_that_nobody_knows_stays_a_number():
    class Code(IntEnum):
        ONE = 1

    assert base.known(Code, 1) is Code.ONE
    assert base.known(Code, 2) == 2
