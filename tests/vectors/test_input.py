from rdpprov.wire.rdp.fastpath import FastPathHeader
from rdpprov.wire.rdp.input import FastPathInputPdu

LAYER = "input"
COUNT = 1


def leaves(pdu):
    header, _ = FastPathHeader.unpack(pdu.pack())
    return {
        "action": header.action,
        "numEvents": header.num_events,
        "flags": header.flags,
        "length": header.length,
        "events": pdu.events,
    }


DECODERS = {("TS_FP_INPUT_PDU", "decode"): FastPathInputPdu.unpack}

LEAVES = {"TS_FP_INPUT_PDU": leaves}

NOT_EXPOSED = {"TS_FP_INPUT_PDU": {"events.eventCode", "events.eventFlags"}}  # the event's class and its flags

NOT_DECODED = {
    ("RDPEI variable-length integer", "decode"),
    ("RDPINPUT PDU (DVC Microsoft::Windows::RDS::Input)", "decode"),
}


def test_published_vector(judge):
    judge()
