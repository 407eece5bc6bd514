import attrs

from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.client_info import ClientInfo
from rdpprov.wire.rdp.security import BasicSecurityHeader, SecurityFlags

LAYER = "client_info"
COUNT = 4


def client_info_pdu(data):
    header, rest = BasicSecurityHeader.unpack(data)
    if header.flags != SecurityFlags.SEC_INFO_PKT:
        raise DecodeError("not a Client Info PDU")
    return header, ClientInfo.unpack(rest)


def info_leaves(info):
    leaves = attrs.asdict(info) | {"compressionType": info.compression_type}
    if (zone := info.client_time_zone) is not None:
        leaves["clientTimeZone"] = attrs.asdict(zone) | {
            "StandardDate": date_leaves(zone.standard_date),
            "DaylightDate": date_leaves(zone.daylight_date),
        }
    return leaves


def date_leaves(date):
    """The specification's names begin with a w."""
    return {f"w_{name}": value for name, value in attrs.asdict(date).items()}


def pdu_leaves(pdu):
    header, info = pdu["header"], pdu["info"]
    return {"securityFlags": header.flags} | info_leaves(info)


DECODERS = {
    ("TS_INFO_PACKET", "decode"): ClientInfo.unpack,
    ("ClientInfoPdu", "decode"): lambda data: dict(zip(("header", "info"), client_info_pdu(data), strict=True)),
}

LEAVES = {"TS_INFO_PACKET": info_leaves, "ClientInfoPdu": pdu_leaves}

ENCODERS = {"ClientInfoPdu": lambda pdu: pdu["header"].pack() + pdu["info"].pack()}

LENGTHS = {
    "cbDomain",
    "cbUserName",
    "cbPassword",
    "cbAlternateShell",
    "cbWorkingDir",
    "cbClientAddress",
    "cbClientDir",
}
NOT_EXPOSED = {"TS_INFO_PACKET": LENGTHS, "ClientInfoPdu": LENGTHS}


def test_published_vector(judge):
    judge()
