import hashlib
import hmac

from rdpprov.wire.rdp.auto_reconnect import CLIENT_RANDOM_OF_ENHANCED_SECURITY, ClientAutoReconnectPacket

LAYER = "security"
COUNT = 5


def security_verifier(vector):
    """The zero random that the constant says, and the algorithm that its docstring says."""
    inputs = vector["inputs"]
    assert inputs["clientRandom"] == CLIENT_RANDOM_OF_ENHANCED_SECURITY.hex()
    key = bytes.fromhex(inputs["arcRandomBits"])
    return {"securityVerifier": hmac.new(key, CLIENT_RANDOM_OF_ENHANCED_SECURITY, hashlib.md5).digest()}


DECODERS = {
    ("ARC_CS_PRIVATE_PACKET", "decode"): ClientAutoReconnectPacket.unpack,
    ("ARC_CS_PRIVATE_PACKET", "reject"): ClientAutoReconnectPacket.unpack,
    ("ARC SecurityVerifier (enhanced security: 32 zero bytes)", "derive"): security_verifier,
}

NOT_DECODED = {("RC4", "derive"), ("RDSTLS PDU framing", "frame")}


def test_published_vector(judge):
    judge()
