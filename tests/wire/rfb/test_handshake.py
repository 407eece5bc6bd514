import pytest
from construct import Bytes, Int16ub, Int32ub, Prefixed, Struct, this
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.errors import LocalProtocolError
from rdpprov.wire.base import DecodeError
from rdpprov.wire.rfb.handshake import (
    REASON_LIMIT,
    PlainCredentials,
    ProtocolVersion,
    Reason,
    ServerInit,
    VencryptSubtype,
    VencryptVersion,
    pack_security_types,
    pack_u32,
    pack_vencrypt_subtypes,
    unpack_u32,
)
from rdpprov.wire.rfb.pixel_format import BGRX, COLOUR_MAP, RGB565, RGBX

u16 = st.integers(0, 0xFFFF)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=250)
SERVER_INIT = Struct(
    "width" / Int16ub, "height" / Int16ub, "format" / Bytes(16), "length" / Int32ub, "name" / Bytes(this.length)
)
PLAIN = Struct("ulen" / Int32ub, "plen" / Int32ub, "name" / Bytes(this.ulen), "password" / Bytes(this.plen))
structures = st.one_of(
    st.builds(ProtocolVersion, st.integers(0, 999), st.integers(0, 999)),
    st.builds(PlainCredentials, texts, texts),
    st.builds(ServerInit, u16, u16, st.sampled_from([BGRX, RGBX, RGB565, COLOUR_MAP]), st.binary(max_size=50)),
    st.builds(Reason, st.binary(max_size=50)),
    st.builds(VencryptVersion, st.integers(0, 255), st.integers(0, 255)),
)


@given(structures, st.binary(max_size=5))
def test_every_structure_round_trips(structure, rest):
    assert type(structure).unpack(structure.pack() + rest) == (structure, rest)


@given(structures, st.data())
def test_a_structure_that_is_cut_off_is_refused(structure, data):
    packed = structure.pack()
    with pytest.raises(DecodeError):
        type(structure).unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(structures, st.binary(max_size=5), st.data())
def test_the_size_is_known_before_all_is_there_and_never_wrong(structure, rest, data):
    packed = structure.pack()
    size = type(structure).__dict__.get("size")
    if size is None:
        assert len(packed) == structure.SIZE
        return
    cut = data.draw(st.integers(0, len(packed)))
    assert type(structure).size((packed + rest)[:cut]) in (None, len(packed))
    assert type(structure).size(packed + rest) == len(packed)


@given(st.sampled_from([ProtocolVersion, PlainCredentials, ServerInit, Reason, VencryptVersion]), st.binary())
def test_any_bytes_are_a_structure_or_our_error(kind, data):
    try:
        _, rest = kind.unpack(data)
    except DecodeError:
        return
    assert data.endswith(rest)


def test_versions_are_twelve_characters():
    assert ProtocolVersion(3, 8).pack() == b"RFB 003.008\n"
    assert str(ProtocolVersion(3, 889)) == "003.889"


@pytest.mark.parametrize(
    "line",
    [b"RFB 003.008\r", b"RFB 3.8\n    ", b"RFB 003,008\n", b"GET / HTTP/1", b"RFB 00\xb2.008\n", b"SSH-2.0-Open"],
)
def test_what_is_no_version_is_refused(line):
    with pytest.raises(DecodeError, match="not RFB"):
        ProtocolVersion.unpack(line)


@given(st.builds(ServerInit, u16, u16, st.just(RGBX), st.binary(max_size=50)))
def test_server_init_is_what_its_construct_definition_says(init):
    parsed = SERVER_INIT.parse(init.pack())
    assert (parsed.width, parsed.height, parsed.format, parsed.name) == (
        init.width,
        init.height,
        RGBX.pack(),
        init.name,
    )


@given(texts, texts)
def test_credentials_are_what_their_construct_definition_says(name, password):
    parsed = PLAIN.parse(PlainCredentials(name, password).pack())
    assert (parsed.name, parsed.password) == (name.encode(), password.encode())


@pytest.mark.parametrize(("name", "password"), [(1024, 0), (0, 1024), (2**32 - 1, 2**32 - 1)])
def test_credentials_that_are_too_long_are_refused_by_their_lengths(name, password):
    header = PlainCredentials.HEADER.pack(name, password)
    with pytest.raises(DecodeError, match="1023 are allowed"):
        PlainCredentials.size(header)
    with pytest.raises(DecodeError):
        PlainCredentials.unpack(header)


@given(st.binary(max_size=1023), st.binary(max_size=1023))
def test_credentials_may_be_any_bytes(name, password):
    packed = PlainCredentials.HEADER.pack(len(name), len(password)) + name + password
    credentials, rest = PlainCredentials.unpack(packed)
    assert rest == b""
    assert "\0" not in credentials.name + credentials.password


def test_passwords_stay_out_of_what_is_printed():
    assert "hunter2" not in repr(PlainCredentials("user", "hunter2"))


def test_reasons_and_names_have_a_limit():
    with pytest.raises(DecodeError):
        Reason.size(pack_u32(REASON_LIMIT + 1))
    with pytest.raises(DecodeError):
        ServerInit.size(ServerInit(1, 1, BGRX, b"").pack()[:-4] + pack_u32(REASON_LIMIT + 1))
    with pytest.raises(LocalProtocolError):
        Reason(bytes(REASON_LIMIT + 1))


def test_lists_have_their_count_before_them():
    assert pack_security_types((19, 2, 1)) == bytes((3, 19, 2, 1))
    assert pack_security_types(()) == b"\0"
    subtypes = (VencryptSubtype.X509_PLAIN, VencryptSubtype.TLS_PLAIN)
    assert pack_vencrypt_subtypes(subtypes) == b"\x02" + b"".join(map(Int32ub.build, subtypes))
    assert unpack_u32(pack_u32(0x01020304) + b"rest") == 0x01020304
    assert Prefixed(Int32ub, Bytes(3)).build(b"abc") == Reason(b"abc").pack()
    with pytest.raises(DecodeError):
        unpack_u32(b"123")


@pytest.mark.parametrize("subtype", VencryptSubtype)
def test_a_subtype_is_a_channel_and_a_proof(subtype):
    channel, _, proof = subtype.name.rpartition("_")
    assert subtype.anonymous_tls == (channel == "TLS")
    assert subtype.certificate_tls == (channel == "X509")
    assert subtype.vnc_authentication == (proof == "VNC")
    assert subtype.plain == (proof == "PLAIN")
