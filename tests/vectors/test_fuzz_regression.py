import contextlib

from rdpprov.errors import RdpProvError

LAYER = "fuzz_regression"
COUNT = 13


def every_decoder(data, decoders):
    """Each must give a value or our error; `judge` limits the time of them all."""
    for decode in decoders.values():
        with contextlib.suppress(RdpProvError):
            decode(data)


DECODERS = {("any PDU decoder", "robust"): every_decoder}

NOT_DECODED = {
    ("bulk compressor input", "robust"),
    ("static/dynamic channel input", "robust"),
    ("clipboard image format conversion (PNG / DIB)", "robust"),
}


def test_published_vector(judge):
    judge()
