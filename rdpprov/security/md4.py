"""MD4, for the NT hash alone: OpenSSL 3 no longer offers it to hashlib.

Broken as a hash for a long time. It runs here only because the NT hash, the key of every NTLM logon, is MD4 of the
password. Sources: [RFC 1320] 3 "MD4 Algorithm Description"; [MS-NLMP] 3.3.1 "NTLM v1 Authentication" (`NTOWFv1`).
"""

import struct
from collections.abc import Callable, Iterator

_MASK = 0xFFFFFFFF


def _round_1(x: int, y: int, z: int) -> int:
    return (x & y) | (~x & z)


def _round_2(x: int, y: int, z: int) -> int:
    return (x & y) | (x & z) | (y & z)


def _round_3(x: int, y: int, z: int) -> int:
    return x ^ y ^ z


# [RFC 1320] 3.4: of each round its function, its constant, the order in which it takes the block's sixteen words, and
# its four rotations.
_ROUNDS: tuple[tuple[Callable[[int, int, int], int], int, tuple[int, ...], tuple[int, int, int, int]], ...] = (
    (_round_1, 0x00000000, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), (3, 7, 11, 19)),
    (_round_2, 0x5A827999, (0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), (3, 5, 9, 13)),
    (_round_3, 0x6ED9EBA1, (0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15), (3, 9, 11, 15)),
)


def md4(message: bytes) -> bytes:
    """MD4 digest of `message`: 16 bytes. Source: [RFC 1320] 3."""
    state: tuple[int, ...] = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
    for block in _blocks(message):
        a, b, c, d = state
        for function, constant, order, rotations in _ROUNDS:
            for step, word in enumerate(order):
                total = (a + function(b, c, d) + block[word] + constant) & _MASK
                shift = rotations[step % 4]
                a, b, c, d = d, ((total << shift) | (total >> (32 - shift))) & _MASK, b, c
        state = tuple((old + new) & _MASK for old, new in zip(state, (a, b, c, d), strict=True))
    return struct.pack("<4I", *state)


def _blocks(message: bytes) -> Iterator[tuple[int, ...]]:
    """Pad the message as 3.1 and 3.2 say, and cut it into blocks of sixteen little-endian words."""
    padding = b"\x80" + bytes((55 - len(message)) % 64)
    padded = message + padding + struct.pack("<Q", (len(message) * 8) & 0xFFFFFFFFFFFFFFFF)
    return struct.iter_unpack("<16I", padded)


def nt_hash(password: str) -> bytes:
    """NTOWFv1: the 16 bytes that NTLM puts in the password's place, MD4 of its UTF-16-LE form.

    As good as the password itself for a network logon, and to be guarded like it. Source: [MS-NLMP] 3.3.1.
    """
    # A lone surrogate cannot be typed, but can come from a client's UTF-16; Windows hashes the units as they are.
    return md4(password.encode("utf-16-le", "surrogatepass"))
