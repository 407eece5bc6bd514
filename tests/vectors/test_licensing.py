from rdpprov.wire.rdp.licensing import LicenseError, LicensePreamble
from rdpprov.wire.rdp.security import BasicSecurityHeader

LAYER = "licensing"
COUNT = 3


def license_error(data):
    header, message = BasicSecurityHeader.unpack(data)
    preamble, _ = LicensePreamble.unpack(message)
    return {"header": header, "preamble": preamble, "size": len(message), "error": LicenseError.unpack(message)}


def license_error_leaves(decoded):
    preamble, error = decoded["preamble"], decoded["error"]
    return {
        "securityFlags": decoded["header"].flags,
        "bMsgType": preamble.message_type,
        "preambleFlags": preamble.flags,
        "wMsgSize": preamble.message_size,
        "wMsgSizeMatches": preamble.message_size == decoded["size"],
        "version": preamble.version,
        "extendedErrorSupported": preamble.extended_error_supported,
        "dwErrorCode": error.error_code,
        "dwStateTransition": error.state_transition,
        "bbErrorInfo": {
            "wBlobType": error.error_info.blob_type,
            "wBlobLen": len(error.error_info.blob_data),
            "blobData": error.error_info.blob_data,
        },
    }


DECODERS = {
    ("LICENSE_ERROR_MESSAGE (valid client)", "decode"): license_error,
    ("LICENSE_ERROR_MESSAGE", "decode"): license_error,
}

LEAVES = {
    "LICENSE_ERROR_MESSAGE (valid client)": license_error_leaves,
    "LICENSE_ERROR_MESSAGE": license_error_leaves,
}

NOT_DECODED = {
    ("SERVER_LICENSE_REQUEST", "decode"),
    ("CLIENT_NEW_LICENSE_REQUEST", "decode"),
    ("CLIENT_LICENSE_INFO", "decode"),
    ("SERVER_PLATFORM_CHALLENGE", "decode"),
    ("CLIENT_PLATFORM_CHALLENGE_RESPONSE", "decode"),
    ("SERVER_NEW_LICENSE", "decode"),
    ("PLATFORM_CHALLENGE_RESPONSE_DATA + CLIENT_HARDWARE_ID", "decode"),
    ("NEW_LICENSE_INFO", "decode"),
    ("PRODUCT_INFO", "decode"),
    ("SCOPE_LIST", "decode"),
    ("MS-RDPELE 5.1.3 key derivation", "derive"),
    ("raw RSA, little-endian, 8 zero bytes padding", "derive"),
    ("licensing MACData", "derive"),
    ("SERVER_NEW_LICENSE EncryptedLicenseInfo", "derive"),
    ("SERVER_PLATFORM_CHALLENGE crypto", "derive"),
}


def test_published_vector(judge):
    judge()
