from rdpprov.wire.rdp.virtual_channel import ChannelPduHeader

LAYER = "svc"
COUNT = 1

DECODERS = {("CHANNEL_PDU_HEADER", "decode"): ChannelPduHeader.unpack}


def test_published_vector(judge):
    judge()
