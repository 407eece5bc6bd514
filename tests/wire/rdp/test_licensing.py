import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.licensing import (
    MESSAGE_MAXIMUM,
    VALID_CLIENT,
    BinaryBlob,
    BlobType,
    LicenseError,
    LicenseErrorCode,
    LicensePreamble,
    MessageType,
    StateTransition,
    unpack_message,
)
from rdpprov.wire.rdp.security import BasicSecurityHeader, SecurityFlags

uint8, uint16, uint32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
blobs = st.builds(BinaryBlob, uint16, st.binary(max_size=40))


@given(st.builds(LicensePreamble, uint8, uint16, uint8) | blobs, st.binary(max_size=20))
def test_a_part_of_a_message_round_trips(part, rest):
    assert type(part).unpack(part.pack() + rest) == (part, rest)


@given(st.builds(LicenseError, uint32, uint32, blobs, uint8))
def test_an_error_alert_round_trips(alert):
    assert LicenseError.unpack(alert.pack()) == alert


def test_the_valid_client_alert_is_20_bytes_with_its_security_header():  # LIC-02, fact 24
    header = BasicSecurityHeader(SecurityFlags.SEC_LICENSE_PKT)
    assert (header.pack() + VALID_CLIENT.pack()).hex() == "80000000ff031000070000000200000004000000"


def test_the_valid_client_alert_is_read_with_its_names():
    alert = LicenseError.unpack(VALID_CLIENT.pack())
    assert alert.error_code is LicenseErrorCode.STATUS_VALID_CLIENT
    assert alert.state_transition is StateTransition.ST_NO_TRANSITION
    assert alert.error_info == BinaryBlob(BlobType.BB_ERROR_BLOB, b"")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "ff0310",
        "ff030f00 07000000 02000000 04000000",  # LIC-01: size mismatch
        "ff031800 07000000 02000000 04000000",
        "12031000 07000000 02000000 04000000",  # another message
        "ff031000 07000000 02000000 04000100",  # blob beyond
        "ff031100 07000000 02000000 04000000 00",  # one byte too many
        "ff030c00 07000000 02000000",
    ],
)
def test_a_malformed_alert_is_refused(message):
    with pytest.raises(DecodeError):
        LicenseError.unpack(bytes.fromhex(message))


def test_only_an_error_alert_may_count_the_security_header():  # LIC-01
    preamble, body = unpack_message(bytes.fromhex("ff030c00 00000000"))
    assert (preamble.message_type, body) == (MessageType.ERROR_ALERT, bytes(4))
    with pytest.raises(DecodeError):
        unpack_message(bytes.fromhex("13030c00 00000000"))


def test_a_message_above_the_limit_is_refused():
    message = LicensePreamble(MessageType.LICENSE_INFO, MESSAGE_MAXIMUM + 1).pack() + bytes(MESSAGE_MAXIMUM - 3)
    with pytest.raises(DecodeError):
        unpack_message(message)
