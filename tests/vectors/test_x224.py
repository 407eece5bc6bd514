from rdpprov.wire.base import DecodeError
from rdpprov.wire.rdp.nego import NegotiationFailure
from rdpprov.wire.rdp.preconnection import PreconnectionPdu, preconnection_length
from rdpprov.wire.rdp.tpkt import TpktHeader, UnitKind, next_unit, pack_tpkt
from rdpprov.wire.rdp.x224 import ConnectionConfirm, ConnectionRequest, Data, unpack_routing_line

LAYER = "x224"
COUNT = 34


def tpdu(data):
    """The payload of the one TPKT unit that `data` is."""
    if next_unit(data) != (UnitKind.TPKT, len(data)):
        raise DecodeError("not one TPKT unit")
    return data[4:]


def connection_request(data):
    return ConnectionRequest.unpack(tpdu(data))


def connection_confirm(data):
    return ConnectionConfirm.unpack(tpdu(data))


def preconnection(data):
    size = preconnection_length(data)
    return None if size is None or size > len(data) else PreconnectionPdu.unpack(data)


def line(data):
    """The routing line alone, as the only thing that a request carries, and what follows it."""
    text, rest = unpack_routing_line(data)
    request = ConnectionRequest(routing_line=text)
    # For a line of another kind the vector says nothing of the rest.
    return (request, rest) if request.cookie or request.routing_token else request


def connection_leaves(structure):
    leaves = {
        "x224.dstRef": structure.destination_reference,
        "x224.srcRef": structure.source_reference,
        "x224.class": structure.class_option,
    }
    if isinstance(structure, ConnectionRequest):
        leaves["cookie"] = structure.cookie
        if (info := structure.correlation_info) is not None:
            leaves |= {
                "corr.flags": info.flags,
                "corr.correlationId": info.correlation_id,
                "corr.reserved": info.reserved,
            }
    if isinstance(structure, ConnectionRequest):
        leaves |= {
            "neg.flags": structure.negotiation.flags,
            "neg.requestedProtocols": structure.negotiation.requested_protocols,
        }
    elif isinstance(structure.negotiation, NegotiationFailure):
        leaves |= {"neg.flags": structure.negotiation.flags, "neg.failureCode": structure.negotiation.failure_code}
    else:
        leaves |= {
            "neg.flags": structure.negotiation.flags,
            "neg.selectedProtocol": structure.negotiation.selected_protocol,
        }
    return leaves


def preconnection_leaves(structure):
    leaves = {"Flags": structure.flags, "Version": structure.version, "Id": structure.id}
    return leaves if structure.pcb is None else leaves | {"wszPCB": structure.pcb}


DECODERS = {
    ("TpktHeader", "decode"): TpktHeader.unpack,
    ("X224Data", "decode"): lambda data: Data.unpack(tpdu(data)),
    ("X224ConnectionRequest", "decode"): connection_request,
    ("X224ConnectionRequest", "reject"): connection_request,
    ("X224ConnectionConfirm", "decode"): connection_confirm,
    ("X224ConnectionConfirm", "reject"): connection_confirm,
    ("PreconnectionPdu", "decode"): preconnection,
    ("PreconnectionPdu", "reject"): preconnection,
    ("cookie field", "decode"): line,
    ("cookie field", "reject"): line,
    ("routingToken field", "decode"): line,
}

LEAVES = {
    "X224ConnectionRequest": connection_leaves,
    "X224ConnectionConfirm": connection_leaves,
    "PreconnectionPdu": preconnection_leaves,
}

ENCODERS = {
    "X224ConnectionRequest": lambda structure: pack_tpkt(structure.pack()),
    "X224ConnectionConfirm": lambda structure: pack_tpkt(structure.pack()),
}

# What is fixed, checked when it is read, and has no field; lengths.
HEADERS = {"tpkt.version", "tpkt.length", "x224.li", "x224.code", "neg.type", "neg.length"}

NOT_EXPOSED = {
    "X224Data": {"tpkt.length", "x224.li", "x224.code", "x224.eot"},
    "X224ConnectionRequest": HEADERS | {"corr.type", "corr.length"},
    "X224ConnectionConfirm": HEADERS,
    "PreconnectionPdu": {"cbSize", "cchPCB"},
    "cookie field": {"consumed"},
}


def test_published_vector(judge):
    judge()
