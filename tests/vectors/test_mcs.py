from rdpprov.wire.base import Reader
from rdpprov.wire.rdp import ber, per
from rdpprov.wire.rdp.gcc import (
    ClientUserData,
    ConferenceCreateRequest,
    ConferenceCreateResponse,
    ServerUserData,
)
from rdpprov.wire.rdp.mcs import (
    AttachUserConfirm,
    ChannelJoinConfirm,
    ConnectInitial,
    ConnectResponse,
    unpack_domain_pdu,
)

LAYER = "mcs"
COUNT = 20


def domain_leaves(pdu):
    leaves = {name: getattr(pdu, name) for name in dir(pdu) if not name.startswith("_") and name != "pack"}
    name = type(pdu).__name__
    leaves |= {"choice": pdu.CHOICE, "name": name[0].lower() + name[1:]}
    if isinstance(pdu, AttachUserConfirm):
        leaves["initiatorPresent"] = pdu.initiator is not None
    if isinstance(pdu, ChannelJoinConfirm):
        leaves["channelIdPresent"] = pdu.channel_id is not None
    if "user_data" in leaves:
        leaves["userDataLength"] = len(pdu.user_data)
    return leaves


def initial_leaves(initial):
    request = ConferenceCreateRequest.unpack(initial.user_data)
    return {
        "callingDomainSelector": initial.calling_domain_selector,
        "calledDomainSelector": initial.called_domain_selector,
        "upwardFlag": initial.upward_flag,
        "targetParameters": initial.target_parameters,
        "minimumParameters": initial.minimum_parameters,
        "maximumParameters": initial.maximum_parameters,
        "h221Key": request.h221_key,
        "conferenceName": request.conference_name,
        "gccUserDataLength": len(request.user_data),
        "gccUserData": block_leaves(ClientUserData.unpack(request.user_data)),
    }


def response_leaves(response):
    envelope, rest = ConferenceCreateResponse.unpack(response.user_data)
    assert not rest
    return {
        "result": response.result,
        "calledConnectId": response.called_connect_id,
        "domainParameters": response.domain_parameters,
        "h221Key": envelope.h221_key,
        "gccUserDataLength": len(envelope.user_data),
        "gccUserData": block_leaves(ServerUserData.unpack(envelope.user_data)),
    }


def block_leaves(user_data):
    """The blocks by the types that they write; test_gcc.py looks into each."""
    names = {0xC001: "CS_CORE", 0xC002: "CS_SECURITY", 0xC003: "CS_NET", 0xC004: "CS_CLUSTER"}
    names |= {0x0C01: "SC_CORE", 0x0C02: "SC_SECURITY", 0x0C03: "SC_NET"}
    return {"blockOrder": [names[block.type] for block in user_data.blocks]}


def length(module):
    def read(data):
        reader = Reader(data, "length")
        found = module.read_length(reader)
        reader.finish()
        return {"length": found}

    return read


DECODERS = {
    ("DomainMCSPDU", "decode"): unpack_domain_pdu,
    ("MCSConnectInitial", "decode"): ConnectInitial.unpack,
    ("MCSConnectResponse", "decode"): ConnectResponse.unpack,
    ("PER length determinant", "decode"): length(per),
    ("BER length", "decode"): length(ber),
}

LEAVES = {
    "DomainMCSPDU": domain_leaves,
    "MCSConnectInitial": initial_leaves,
    "MCSConnectResponse": response_leaves,
}

# The blocks themselves are compared in test_gcc.py.
NOT_EXPOSED = {
    "MCSConnectInitial": {f"gccUserData.CS_{name}" for name in ("CORE", "SECURITY", "NET", "CLUSTER")},
    "MCSConnectResponse": {f"gccUserData.SC_{name}" for name in ("CORE", "SECURITY", "NET")},
}


def test_published_vector(judge):
    judge()
