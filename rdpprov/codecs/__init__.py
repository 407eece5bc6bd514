"""Pixels to bytes and back: pure functions on numpy arrays, one file a codec.

A *picture* is an array of shape (height, width, 4), dtype uint8, BGRX: byte 3 means nothing. Its rows may lie any
distance apart, backwards too, so ``picture[::-1]`` costs nothing. Codecs take and give rows **in the order of the
stream**: legacy bitmap updates are bottom-up ([MS-RDPBCGR] 2.2.9.1.1.3.1.2.2), the caller turns the picture over.

What is serial over pixels is written twice: in Python with numpy, and in C (``_native.c``, optional). `native` picks
one, and both give the same bytes.
"""
