/* rdpprov.codecs._native: the loops over pixels that numpy cannot do.
 *
 * Optional. rdpprov.codecs has the same functions in Python and numpy, and both give the same bytes (tests/codecs
 * compares them). Only the Limited API of Python 3.11 is used, so one build serves every later version.
 *
 * How this file stays safe:
 *   - Arguments are checked and sizes computed before the GIL is released; nothing of Python is touched after that.
 *   - Pixels are read once, into memory of our own (load_tile), and everything is computed from that copy. Another
 *     thread or process may draw into the source meanwhile: that can make a picture torn, never a length wrong, and
 *     digest and encoded bytes always speak of the same pixels.
 *   - Every write into an output goes through a struct sink, which knows where the memory ends.
 */

/* Debian builds extensions with -O2, at which GCC vectorises next to nothing; these loops live on it. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("O3")
#endif

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define HAS_CARRYLESS /* compiled in; whether the processor has it is asked when the module is loaded */
#endif

#if PY_BIG_ENDIAN
#error "pixels are compared as little-endian words; the build goes on without this extension"
#endif

#define MAX_SIDE 8192              /* the largest desktop, [MS-RDPBCGR] 2.2.1.3.2 */
#define MAX_RLE_PIXELS 65535       /* every length then fits the 16 bits of a mega order */
#define MAX_TILE_PIXELS 16384
#define MAX_PLACE (1 << 30)        /* of what is painted: sums of two never overflow */
#define DIGEST_SIZE 33

/* ------------------------------------------------------------------------------------------------ Pictures */

struct picture {
    Py_buffer view;
    const uint8_t *first_row; /* rows lie `stride` bytes apart, which may be negative */
    Py_ssize_t stride;
    size_t width, height;
};

struct tile {
    size_t left, top, right, bottom;
};

/* Borrow an array of shape (height, width, 4), uint8, pixels contiguous within a row. */
static int
get_picture(PyObject *object, struct picture *picture)
{
    Py_buffer *view = &picture->view;

    if (PyObject_GetBuffer(object, view, PyBUF_STRIDES | PyBUF_FORMAT) < 0)
        return -1;
    if (view->ndim != 3 || view->itemsize != 1 || (view->format != NULL && strcmp(view->format, "B") != 0)
        || view->shape[2] != 4 || view->strides[2] != 1 || (view->shape[1] > 1 && view->strides[1] != 4)) {
        PyErr_SetString(PyExc_ValueError, "a picture is an array (height, width, 4) of uint8 with whole pixels");
        goto refuse;
    }
    if (view->shape[0] < 1 || view->shape[1] < 1 || view->shape[0] > MAX_SIDE || view->shape[1] > MAX_SIDE) {
        PyErr_SetString(PyExc_ValueError, "a picture is 1 to 8192 pixels wide and high");
        goto refuse;
    }
    picture->first_row = view->buf;
    picture->stride = view->strides[0];
    picture->height = (size_t)view->shape[0];
    picture->width = (size_t)view->shape[1];
    return 0;

refuse:
    PyBuffer_Release(view);
    return -1;
}

/* Tiles come as int32 left, top, right, bottom (exclusive). All must lie in the picture and have MAX_TILE_PIXELS at most
 * when their width is rounded up to a multiple of four. */
static struct tile *
get_tiles(const Py_buffer *view, const struct picture *picture, size_t *count)
{
    struct tile *tiles;
    size_t i;

    if (view->len % 16 != 0) {
        PyErr_SetString(PyExc_ValueError, "a tile is four int32");
        return NULL;
    }
    *count = (size_t)view->len / 16;
    tiles = malloc((*count ? *count : 1) * sizeof *tiles);
    if (tiles == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    for (i = 0; i < *count; i++) {
        int32_t edge[4];
        memcpy(edge, (const uint8_t *)view->buf + 16 * i, sizeof edge);
        if (edge[0] < 0 || edge[1] < 0 || edge[2] <= edge[0] || edge[3] <= edge[1]
            || (size_t)edge[2] > picture->width || (size_t)edge[3] > picture->height
            || (((size_t)(edge[2] - edge[0]) + 3) & ~(size_t)3) * (size_t)(edge[3] - edge[1]) > MAX_TILE_PIXELS) {
            PyErr_SetString(PyExc_ValueError, "a tile lies outside the picture or is too large");
            free(tiles);
            return NULL;
        }
        tiles[i] = (struct tile){(size_t)edge[0], (size_t)edge[1], (size_t)edge[2], (size_t)edge[3]};
    }
    return tiles;
}

static const uint8_t *
row_of(const struct picture *picture, const struct tile *tile, size_t y)
{
    return picture->first_row + (Py_ssize_t)(tile->top + y) * picture->stride + 4 * (Py_ssize_t)tile->left;
}

static uint32_t
load_colour(const uint8_t *from)
{
    uint32_t value;
    memcpy(&value, from, sizeof value);
    return value & 0xFFFFFF;
}

/* Copy a tile as 0x00RRGGBB, each row lengthened to `width` by its last pixel. */
static void
load_tile(const struct picture *picture, const struct tile *tile, size_t width, uint32_t *pixels)
{
    size_t columns = tile->right - tile->left, rows = tile->bottom - tile->top, x, y;

    for (y = 0; y < rows; y++) {
        const uint8_t *from = row_of(picture, tile, y);
        for (x = 0; x < columns; x++)
            pixels[x] = load_colour(from + 4 * x);
        for (; x < width; x++)
            pixels[x] = pixels[columns - 1];
        pixels += width;
    }
}

/* Whether `count` pixels that lie together all have this colour. */
static int
is_all(const uint8_t *pixels, size_t count, uint32_t colour)
{
    uint32_t differ = 0;
    size_t i;

    for (i = 0; i < count; i++)
        differ |= load_colour(pixels + 4 * i) ^ colour;
    return differ == 0;
}

static int
is_solid(const struct picture *picture, const struct tile *tile)
{
    uint32_t colour = load_colour(row_of(picture, tile, 0));
    size_t y;

    for (y = 0; y < tile->bottom - tile->top; y++)
        if (!is_all(row_of(picture, tile, y), tile->right - tile->left, colour))
            return 0;
    return 1;
}

/* 0x00RRGGBB to the pixel value of a depth: the upper bits of each colour, no dithering (it ruins every run). */
static void
reduce_depth(uint32_t *pixels, size_t count, int bits_per_pixel)
{
    size_t i;

    if (bits_per_pixel == 16) {
        for (i = 0; i < count; i++) {
            uint32_t v = pixels[i];
            pixels[i] = (v >> 8 & 0xF800) | (v >> 5 & 0x07E0) | (v >> 3 & 0x001F);
        }
    } else if (bits_per_pixel == 15) {
        for (i = 0; i < count; i++) {
            uint32_t v = pixels[i];
            pixels[i] = (v >> 9 & 0x7C00) | (v >> 6 & 0x03E0) | (v >> 3 & 0x001F);
        }
    }
}

static size_t
bytes_of(int bits_per_pixel)
{
    return ((size_t)bits_per_pixel + 7) / 8;
}

/* --------------------------------------------------------------------------------------------------- Output */

/* Every write below asks for just the bytes that it writes, so an encoder fails if, and only if, its whole stream does
 * not fit. */
struct sink {
    uint8_t *at;
    const uint8_t *end;
};

static int
has_room(const struct sink *sink, size_t count)
{
    return (size_t)(sink->end - sink->at) >= count;
}

static void
store_pixel(uint8_t *at, uint32_t pixel, size_t bytes)
{
    at[0] = (uint8_t)pixel;
    if (bytes > 1)
        at[1] = (uint8_t)(pixel >> 8);
    if (bytes > 2)
        at[2] = (uint8_t)(pixel >> 16);
    if (bytes > 3)
        at[3] = 0xFF; /* the X of BGRX: opaque, for clients that look */
}

static int
put_pixels(struct sink *sink, const uint32_t *pixels, size_t count, size_t bytes)
{
    size_t i;

    if (!has_room(sink, count * bytes))
        return -1;
    if (bytes == 2) {
        for (i = 0; i < count; i++)
            store_pixel(sink->at + 2 * i, pixels[i], 2);
    } else if (bytes == 3) {
        for (i = 0; i < count; i++)
            store_pixel(sink->at + 3 * i, pixels[i], 3);
    } else {
        for (i = 0; i < count; i++)
            store_pixel(sink->at + bytes * i, pixels[i], bytes);
    }
    sink->at += count * bytes;
    return 0;
}

/* ------------------------------------------------------------------------------- Interleaved RLE, encoding */

/* How many elements from `from` to `end` equal `value`. */
static size_t
run_length(const uint32_t *values, size_t from, size_t end, uint32_t value)
{
    size_t i = from;

    if (i >= end || values[i] != value)
        return 0;
    i++;
    if (i >= end || values[i] != value)
        return i - from;
    while (end - i >= 8) {
        uint32_t differ = 0;
        int k;
        for (k = 0; k < 8; k++)
            differ |= values[i + k] ^ value;
        if (differ)
            break;
        i += 8;
    }
    while (i < end && values[i] == value)
        i++;
    return i - from;
}

struct order {
    uint8_t code;     /* the id, shifted to the top bits */
    uint8_t in_code;  /* lengths up to this lie in the code byte, up to this + 256 in the next */
    uint8_t mega;     /* with a 16-bit length */
};

static const struct order BACKGROUND_RUN = {0x00, 31, 0xF0}, FOREGROUND_RUN = {0x20, 31, 0xF1},
                          SET_FOREGROUND_RUN = {0xC0, 15, 0xF6}, COLOUR_RUN = {0x60, 31, 0xF3},
                          COLOUR_IMAGE = {0x80, 31, 0xF4};

static int
put_order(struct sink *sink, const struct order *order, size_t length)
{
    if (!has_room(sink, length <= order->in_code ? 1 : length <= (size_t)order->in_code + 256 ? 2 : 3))
        return -1;
    if (length <= order->in_code) {
        *sink->at++ = (uint8_t)(order->code | length);
    } else if (length <= (size_t)order->in_code + 256) {
        *sink->at++ = order->code;
        *sink->at++ = (uint8_t)(length - order->in_code - 1);
    } else {
        *sink->at++ = order->mega;
        *sink->at++ = (uint8_t)length;
        *sink->at++ = (uint8_t)(length >> 8);
    }
    return 0;
}

#define MAX_IMAGE 248 /* pixels of a foreground/background image: the most that the code byte can say */

/* rle.py, _encode_python, has the same decisions in the same order; its comments say why. */
static int
encode_rle(const uint32_t *pixels, uint32_t *delta, size_t width, size_t count, int bits_per_pixel, struct sink *sink)
{
    size_t bytes = bytes_of(bits_per_pixel), literals = 0, i;
    uint32_t foreground = ((uint32_t)1 << bits_per_pixel) - 1;

    memcpy(delta, pixels, (width < count ? width : count) * sizeof *delta);
    for (i = width; i < count; i++)
        delta[i] = pixels[i] ^ pixels[i - width];

    for (i = 0; i < count;) {
        size_t end = i < width ? width : count;
        uint32_t change = delta[i], other = change;
        size_t colour = run_length(pixels, i, count, pixels[i]);
        size_t run = run_length(delta, i, end, change);
        size_t best = colour > run ? colour : run, image = 0, length;
        const struct order *order = NULL;

        if (best < 8) {
            size_t last = end - i < MAX_IMAGE ? end : i + MAX_IMAGE, j;
            for (j = i + run; j < last; j++) {
                if (delta[j] == 0 || delta[j] == other)
                    continue;
                if (other != 0)
                    break;
                other = delta[j];
            }
            image = (j - i) & ~(size_t)7;
            if (image < 16 && best >= 4)
                image = 0;
        }
        length = run;
        if (image == 0) {
            if (colour >= 3 && (colour > run || (colour == run && change != 0 && change != foreground))) {
                order = &COLOUR_RUN;
                length = colour;
            } else if (change == 0) {
                order = run >= 2 || literals == 0 ? &BACKGROUND_RUN : NULL;
            } else if (change == foreground) {
                order = run >= 2 || literals == 0 ? &FOREGROUND_RUN : NULL;
            } else if (run >= 3) {
                order = &SET_FOREGROUND_RUN;
            }
            if (order == NULL) {
                literals++;
                i++;
                continue;
            }
        }
        if (literals != 0) {
            if (put_order(sink, &COLOUR_IMAGE, literals) < 0
                || put_pixels(sink, pixels + i - literals, literals, bytes) < 0)
                return -1;
            literals = 0;
        }
        if (image != 0) {
            size_t j, k;
            if (!has_room(sink, 1 + (other == foreground ? 0 : bytes + (image / 8 > 15)) + image / 8))
                return -1;
            if (other == foreground) {
                *sink->at++ = (uint8_t)(0x40 | image / 8);
            } else {
                foreground = other;
                *sink->at++ = (uint8_t)(image / 8 <= 15 ? 0xD0 | image / 8 : 0xD0);
                if (image / 8 > 15)
                    *sink->at++ = (uint8_t)(image - 1);
                store_pixel(sink->at, foreground, bytes);
                sink->at += bytes;
            }
            for (j = 0; j < image; j += 8) {
                uint8_t mask = 0;
                for (k = 0; k < 8; k++)
                    mask = (uint8_t)(mask | (delta[i + j + k] != 0) << k);
                *sink->at++ = mask;
            }
            i += image;
            continue;
        }
        if (put_order(sink, order, length) < 0)
            return -1;
        if (order == &SET_FOREGROUND_RUN) {
            foreground = change;
            if (put_pixels(sink, &foreground, 1, bytes) < 0)
                return -1;
        } else if (order == &COLOUR_RUN) {
            if (put_pixels(sink, pixels + i, 1, bytes) < 0)
                return -1;
        }
        i += length;
    }
    if (literals != 0
        && (put_order(sink, &COLOUR_IMAGE, literals) < 0 || put_pixels(sink, pixels + i - literals, literals, bytes) < 0))
        return -1;
    return 0;
}

/* ------------------------------------------------------------------------------------------ Planar, encoding */

static size_t
byte_run_length(const uint8_t *values, size_t from, size_t end, uint8_t value)
{
    size_t i = from;
    uint64_t eight = value * UINT64_C(0x0101010101010101), here;

    while (end - i >= 8) {
        memcpy(&here, values + i, 8);
        if (here != eight)
            break;
        i += 8;
    }
    while (i < end && values[i] == value)
        i++;
    return i - from;
}

/* The longest piece of a run of n that fits and leaves nothing, or a run of at least 3, behind. */
static size_t
piece_of_run(size_t n, size_t most)
{
    if (n <= most)
        return n;
    return n - most >= 3 ? most : n - 3;
}

static int
put_segments(struct sink *sink, const uint8_t *raw, size_t count, size_t run)
{
    size_t piece;

    for (; count > 15; count -= 15, raw += 15) {
        if (!has_room(sink, 16))
            return -1;
        *sink->at++ = 0xF0;
        memcpy(sink->at, raw, 15);
        sink->at += 15;
    }
    if (count != 0) {
        if (!has_room(sink, 1 + count))
            return -1;
        piece = piece_of_run(run, 15);
        *sink->at++ = (uint8_t)(count << 4 | piece);
        memcpy(sink->at, raw, count);
        sink->at += count;
        run -= piece;
    }
    while (run != 0) {
        if (!has_room(sink, 1))
            return -1;
        piece = piece_of_run(run, 47);
        *sink->at++ = (uint8_t)(piece < 16 ? piece : piece < 32 ? (piece - 16) << 4 | 1 : (piece - 32) << 4 | 2);
        run -= piece;
    }
    return 0;
}

static int
encode_plane_row(struct sink *sink, const uint8_t *values, size_t width)
{
    size_t i = 0, raw = 0;
    uint8_t last = 0;

    while (i < width) {
        size_t run = byte_run_length(values, i, width, last);
        if (run >= 3) {
            if (put_segments(sink, values + raw, i - raw, run) < 0)
                return -1;
            i += run;
            raw = i;
        } else {
            last = values[i++];
        }
    }
    return raw < width ? put_segments(sink, values + raw, width - raw, 0) : 0;
}

/* `row` is scratch of width bytes, `same` of height bytes. */
static int
encode_planar(const uint32_t *pixels, uint8_t *row, uint8_t *same, size_t width, size_t height, int header,
              struct sink *sink)
{
    uint8_t unchanged[MAX_SIDE / 44 + 3]; /* a row of zeros, coded: pieces of 44 to 47 */
    struct sink unchanged_sink = {unchanged, unchanged + sizeof unchanged};
    size_t unchanged_size, x, y;
    int shift;

    if (!has_room(sink, 1))
        return -1;
    *sink->at++ = (uint8_t)header;
    if (!(header & 0x10)) {
        size_t count = width * height;
        if (!has_room(sink, (header & 0x20 ? 3 : 4) * count + 1))
            return -1;
        if (!(header & 0x20)) {
            memset(sink->at, 0xFF, count);
            sink->at += count;
        }
        for (shift = 16; shift >= 0; shift -= 8)
            for (x = 0; x < count; x++)
                *sink->at++ = (uint8_t)(pixels[x] >> shift);
        *sink->at++ = 0;
        return 0;
    }
    memset(row, 0, width);
    if (encode_plane_row(&unchanged_sink, row, width) < 0)
        return -1;
    unchanged_size = (size_t)(unchanged_sink.at - unchanged);
    same[0] = 0;
    for (y = 1; y < height; y++)
        same[y] = memcmp(pixels + y * width, pixels + (y - 1) * width, width * sizeof *pixels) == 0;
    for (shift = header & 0x20 ? 16 : 24; shift >= 0; shift -= 8) {
        for (y = 0; y < height; y++) {
            const uint32_t *here = pixels + y * width, *above = here - (y != 0 ? width : 0);
            if (y != 0 && (same[y] || shift == 24)) {
                if (!has_room(sink, unchanged_size))
                    return -1;
                memcpy(sink->at, unchanged, unchanged_size);
                sink->at += unchanged_size;
                continue;
            }
            if (shift == 24) {
                memset(row, 0xFF, width);
            } else if (y == 0) {
                for (x = 0; x < width; x++)
                    row[x] = (uint8_t)(here[x] >> shift);
            } else {
                for (x = 0; x < width; x++) {
                    uint8_t d = (uint8_t)((here[x] >> shift) - (above[x] >> shift));
                    row[x] = (uint8_t)(d << 1 ^ (d & 0x80 ? 0xFF : 0));
                }
            }
            if (encode_plane_row(sink, row, width) < 0)
                return -1;
        }
    }
    return 0;
}

/* --------------------------------------------------------------------------------------------------- Digest */

/* Two rounds of NH over 64-bit words with a Toeplitz-shifted key: the hash of UMAC (Black, Halevi, Krawczyk, Krovetz,
 * Rogaway, "UMAC: Fast and Secure Message Authentication", CRYPTO '99, theorem 4.2). For any two different pictures of
 * one size the chance, over the random key, that all 256 bits agree is at most 2**-128.
 *
 * Where the processor multiplies polynomials over GF(2) two at a time, the same in that ring: words are added to the
 * key, multiplied and summed up without carries (Lemire and Kaser, "Faster 64-bit universal hashing using carry-less
 * multiplications", 2016, CLNH). The bound is the same, and for the same reason: of the last pair of words in which two
 * pictures differ, each round's sum is linear in a part of the key that no earlier term of either round has. It takes a
 * quarter of the time. A process uses one of the two: their digests have nothing to do with each other. */

#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 sum128;

static void
add_product(sum128 *sum, uint64_t a, uint64_t b)
{
    *sum += (sum128)a * b;
}
#else
typedef struct {
    uint64_t low, high;
} sum128;

static void
add_product(sum128 *sum, uint64_t a, uint64_t b)
{
    uint64_t low, high;
#if defined(_MSC_VER) && defined(_M_X64)
    low = _umul128(a, b, &high);
#else
    uint64_t a0 = a & 0xFFFFFFFF, a1 = a >> 32, b0 = b & 0xFFFFFFFF, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32);
    uint64_t other = a0 * b1 + (middle & 0xFFFFFFFF);
    low = a * b;
    high = a1 * b1 + (middle >> 32) + (other >> 32);
#endif
    sum->low += low;
    sum->high += high + (sum->low < low);
}
#endif

struct digest {
    sum128 round[2];
};

static uint64_t
load64(const uint8_t *from)
{
    uint64_t value;
    memcpy(&value, from, sizeof value);
    return value;
}

/* Adds a row to the sums, with so much of the key as it takes: 16 bytes for four pixels, and the 16 behind them for
 * the second round. The X bytes of BGRX count for nothing. A row's missing pixels count as zero.
 *
 * Returns: the key for the next row. */
typedef const uint8_t *row_digester(struct digest *sum, const uint8_t *row, size_t columns, const uint8_t *key);

static const uint8_t *
digest_row_nh(struct digest *sum, const uint8_t *row, size_t columns, const uint8_t *key)
{
    static const uint8_t colour[8] = {0xFF, 0xFF, 0xFF, 0, 0xFF, 0xFF, 0xFF, 0};
    uint64_t mask = load64(colour);
    sum128 first = sum->round[0], second = sum->round[1];

    for (; columns >= 4; columns -= 4, row += 16, key += 16) {
        uint64_t a = load64(row) & mask, b = load64(row + 8) & mask;
        add_product(&first, a + load64(key), b + load64(key + 8));
        add_product(&second, a + load64(key + 16), b + load64(key + 24));
    }
    if (columns != 0) {
        uint8_t last[16] = {0};
        uint64_t a, b;
        memcpy(last, row, 4 * columns);
        a = load64(last) & mask;
        b = load64(last + 8) & mask;
        add_product(&first, a + load64(key), b + load64(key + 8));
        add_product(&second, a + load64(key + 16), b + load64(key + 24));
        key += 16;
    }
    sum->round[0] = first;
    sum->round[1] = second;
    return key;
}

#ifdef HAS_CARRYLESS
__attribute__((target("avx2,pclmul,vpclmulqdq"))) static const uint8_t *
digest_row_carryless(struct digest *sum, const uint8_t *row, size_t columns, const uint8_t *key)
{
    const __m256i mask = _mm256_set1_epi32(0x00FFFFFF);
    __m256i first = _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)&sum->round[0]));
    __m256i second = _mm256_zextsi128_si256(_mm_loadu_si128((const __m128i *)&sum->round[1]));

    for (; columns >= 8; columns -= 8, row += 32, key += 32) {
        __m256i pixels = _mm256_and_si256(_mm256_loadu_si256((const __m256i *)row), mask);
        __m256i a = _mm256_xor_si256(pixels, _mm256_loadu_si256((const __m256i *)key));
        __m256i b = _mm256_xor_si256(pixels, _mm256_loadu_si256((const __m256i *)(key + 16)));
        first = _mm256_xor_si256(first, _mm256_clmulepi64_epi128(a, a, 0x01));
        second = _mm256_xor_si256(second, _mm256_clmulepi64_epi128(b, b, 0x01));
    }
    __m128i one = _mm_xor_si128(_mm256_castsi256_si128(first), _mm256_extracti128_si256(first, 1));
    __m128i two = _mm_xor_si128(_mm256_castsi256_si128(second), _mm256_extracti128_si256(second, 1));
    while (columns != 0) { /* at most twice */
        size_t count = columns < 4 ? columns : 4;
        uint8_t last[16] = {0};
        memcpy(last, row, 4 * count);
        __m128i pixels = _mm_and_si128(_mm_loadu_si128((const __m128i *)last), _mm256_castsi256_si128(mask));
        __m128i a = _mm_xor_si128(pixels, _mm_loadu_si128((const __m128i *)key));
        __m128i b = _mm_xor_si128(pixels, _mm_loadu_si128((const __m128i *)(key + 16)));
        one = _mm_xor_si128(one, _mm_clmulepi64_si128(a, a, 0x01));
        two = _mm_xor_si128(two, _mm_clmulepi64_si128(b, b, 0x01));
        columns -= count;
        row += 4 * count;
        key += 16;
    }
    _mm_storeu_si128((__m128i *)&sum->round[0], one);
    _mm_storeu_si128((__m128i *)&sum->round[1], two);
    return key;
}
#endif

/* The one that this process uses: chosen once, in PyInit__native. */
static row_digester *digest_row = digest_row_nh;

static void
choose_row_digester(void)
{
#ifdef HAS_CARRYLESS
    const char *unwanted = getenv("RDPPROV_NO_CARRYLESS"); /* for tests, which compare both */
    if ((unwanted == NULL || *unwanted == '\0') && __builtin_cpu_supports("avx2")
        && __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("vpclmulqdq"))
        digest_row = digest_row_carryless;
#endif
}

/* Key bytes that the largest tile needs: as many as it has itself, and the shift of the second round. */
#define KEY_SIZE (4 * MAX_TILE_PIXELS + 16)

/* A digest is what kind it is, and 32 bytes: the colour of a tile that has only one, which is quicker, or the hash. */
static void
digest_colour(const uint8_t *pixel, uint8_t *out)
{
    memset(out, 0, DIGEST_SIZE);
    out[0] = 1;
    memcpy(out + 1, pixel, 3);
}

static void
digest_tile(const struct picture *picture, const struct tile *tile, const uint8_t *key, uint8_t *out)
{
    struct digest sum;
    size_t y;

    if (is_solid(picture, tile)) {
        digest_colour(row_of(picture, tile, 0), out);
        return;
    }
    memset(&sum, 0, sizeof sum);
    for (y = 0; y < tile->bottom - tile->top; y++)
        key = digest_row(&sum, row_of(picture, tile, y), tile->right - tile->left, key);
    out[0] = 0;
    memcpy(out + 1, &sum, sizeof sum);
}

/* The same of pixels that load_tile has copied. */
static void
digest_copy(const uint32_t *pixels, size_t width, const struct tile *tile, int solid, const uint8_t *key, uint8_t *out)
{
    struct digest sum;
    size_t y;

    if (solid) {
        digest_colour((const uint8_t *)pixels, out);
        return;
    }
    memset(&sum, 0, sizeof sum);
    for (y = 0; y < tile->bottom - tile->top; y++)
        key = digest_row(&sum, (const uint8_t *)(pixels + y * width), tile->right - tile->left, key);
    out[0] = 0;
    memcpy(out + 1, &sum, sizeof sum);
}

/* ----------------------------------------------------------------------------------------- Python: encoding */

static int
check_depth(int bits_per_pixel, int header)
{
    if (bits_per_pixel != 15 && bits_per_pixel != 16 && bits_per_pixel != 24 && bits_per_pixel != 32) {
        PyErr_SetString(PyExc_ValueError, "bits_per_pixel is 15, 16, 24 or 32");
        return -1;
    }
    if ((header & ~0x30) != 0) {
        PyErr_SetString(PyExc_ValueError, "a planar format header is 0x00, 0x10, 0x20 or 0x30");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(encode_doc,
"encode(pixels, bits_per_pixel, format_header, limit) -> bytes | None\n\n"
"One picture as interleaved RLE (15, 16, 24) or planar (32); None if it takes more than limit bytes.");

static PyObject *
encode(PyObject *module, PyObject *args)
{
    PyObject *source, *result = NULL;
    struct picture picture;
    struct tile whole = {0, 0, 0, 0};
    struct sink sink;
    Py_ssize_t limit;
    size_t count, capacity;
    uint32_t *pixels = NULL, *delta = NULL;
    uint8_t *out = NULL;
    int bits_per_pixel, header, failed;
    (void)module;

    if (!PyArg_ParseTuple(args, "Oiin:encode", &source, &bits_per_pixel, &header, &limit))
        return NULL;
    if (check_depth(bits_per_pixel, header) < 0 || get_picture(source, &picture) < 0)
        return NULL;
    whole.right = picture.width;
    whole.bottom = picture.height;
    count = picture.width * picture.height;
    if (bits_per_pixel != 32 && count > MAX_RLE_PIXELS) {
        PyErr_SetString(PyExc_ValueError, "too many pixels for interleaved RLE");
        goto done;
    }
    if (limit < 0)
        limit = 0;
    /* Longer than any stream of ours: an RLE order of n pixels takes 3 bytes, a colour, and n pixels or less; a plane
     * row takes its bytes and a control byte for each 15. */
    capacity = bits_per_pixel != 32 ? count * (3 + 2 * bytes_of(bits_per_pixel))
                                    : 4 * (count + picture.height * (picture.width / 15 + 1)) + 2;
    pixels = malloc(count * sizeof *pixels);
    delta = malloc(bits_per_pixel != 32 ? count * sizeof *delta : picture.width + picture.height);
    out = malloc(capacity);
    if (pixels == NULL || delta == NULL || out == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    sink = (struct sink){out, out + capacity};
    Py_BEGIN_ALLOW_THREADS
    load_tile(&picture, &whole, picture.width, pixels);
    if (bits_per_pixel != 32) {
        reduce_depth(pixels, count, bits_per_pixel);
        failed = encode_rle(pixels, delta, picture.width, count, bits_per_pixel, &sink);
    } else {
        failed = encode_planar(pixels, (uint8_t *)delta, (uint8_t *)delta + picture.width, picture.width,
                               picture.height, header, &sink);
    }
    Py_END_ALLOW_THREADS
    if (failed || sink.at - out > limit)
        result = Py_NewRef(Py_None);
    else
        result = PyBytes_FromStringAndSize((const char *)out, sink.at - out);

done:
    free(pixels);
    free(delta);
    free(out);
    PyBuffer_Release(&picture.view);
    return result;
}

struct encoded {
    uint8_t *data;
    size_t length;
    int compressed;
    uint8_t digest[DIGEST_SIZE];
};

PyDoc_STRVAR(encode_tiles_doc,
"encode_tiles(pixels, tiles, bits_per_pixel, format_header, key) -> list[tuple[bool, bytes, bytes]]\n\n"
"For each tile: is it compressed, the data, the digest. See rdpprov.codecs.tiles.encode_tiles.");

static PyObject *
encode_tiles(PyObject *module, PyObject *args)
{
    PyObject *source, *result = NULL;
    struct picture picture;
    struct tile *tiles = NULL;
    struct encoded *encoded = NULL;
    Py_buffer rectangles, key;
    size_t count, largest = 0, capacity = 0, bytes, i;
    uint32_t *pixels = NULL, *delta = NULL;
    uint8_t *out = NULL;
    int bits_per_pixel, header;
    (void)module;

    if (!PyArg_ParseTuple(args, "Oy*iiy*:encode_tiles", &source, &rectangles, &bits_per_pixel, &header, &key))
        return NULL;
    if (check_depth(bits_per_pixel, header) < 0 || get_picture(source, &picture) < 0) {
        PyBuffer_Release(&rectangles);
        PyBuffer_Release(&key);
        return NULL;
    }
    tiles = get_tiles(&rectangles, &picture, &count);
    if (tiles == NULL)
        goto done;
    bytes = bytes_of(bits_per_pixel);
    for (i = 0; i < count; i++) {
        size_t width = (tiles[i].right - tiles[i].left + 3) & ~(size_t)3, height = tiles[i].bottom - tiles[i].top;
        largest = width * height > largest ? width * height : largest;
        /* What does not get smaller is stored raw. */
        if (width * height * bytes > SIZE_MAX / 2 - capacity) {
            PyErr_NoMemory();
            goto done;
        }
        capacity += width * height * bytes;
    }
    if (key.len != 0 && key.len != KEY_SIZE) {
        PyErr_SetString(PyExc_ValueError, "a digest key has 65552 bytes");
        goto done;
    }
    encoded = malloc((count ? count : 1) * sizeof *encoded);
    pixels = malloc((largest ? largest : 1) * sizeof *pixels);
    /* For planar this is a row (not wider than the tile's pixels) and a flag for each row. */
    delta = malloc((largest ? largest : 1) * sizeof *delta);
    out = malloc(capacity ? capacity : 1);
    if (encoded == NULL || pixels == NULL || delta == NULL || out == NULL) {
        PyErr_NoMemory();
        goto done;
    }

    Py_BEGIN_ALLOW_THREADS
    uint8_t *next = out;
    for (i = 0; i < count; i++) {
        size_t width = (tiles[i].right - tiles[i].left + 3) & ~(size_t)3, height = tiles[i].bottom - tiles[i].top;
        size_t raw = width * height * bytes;
        /* A compressed bitmap may carry 8 bytes of TS_CD_HEADER, so it must be shorter by that. `next` has at least
         * `raw` bytes left: that many were counted for this tile, and no tile before it took more than its own. */
        struct sink sink = {next, next + (raw > 8 ? raw - 8 : 0)};
        int solid;
        load_tile(&picture, &tiles[i], width, pixels);
        solid = is_all((const uint8_t *)pixels, width, pixels[0])
                && is_all((const uint8_t *)pixels, width * height, pixels[0]);
        if (key.len != 0)
            digest_copy(pixels, width, &tiles[i], solid, key.buf, encoded[i].digest);
        if (solid && bits_per_pixel != 32 && height > 1) {
            reduce_depth(pixels, 1, bits_per_pixel);
            (void)put_order(&sink, &COLOUR_RUN, width * height); /* what encode_rle would find; at least 8 pixels */
            encoded[i].compressed = put_pixels(&sink, pixels, 1, bytes) == 0;
        } else if (bits_per_pixel != 32) {
            reduce_depth(pixels, width * height, bits_per_pixel);
            encoded[i].compressed = encode_rle(pixels, delta, width, width * height, bits_per_pixel, &sink) == 0;
        } else {
            encoded[i].compressed = encode_planar(pixels, (uint8_t *)delta, (uint8_t *)delta + width, width, height,
                                                  header, &sink) == 0;
        }
        if (!encoded[i].compressed) {
            sink = (struct sink){next, next + raw};
            (void)put_pixels(&sink, pixels, width * height, bytes);
        }
        encoded[i].data = next;
        encoded[i].length = (size_t)(sink.at - next);
        next = sink.at;
    }
    Py_END_ALLOW_THREADS

    result = PyList_New((Py_ssize_t)count);
    for (i = 0; result != NULL && i < count; i++) {
        PyObject *item = Py_BuildValue("Oy#y#", encoded[i].compressed ? Py_True : Py_False, encoded[i].data,
                                       (Py_ssize_t)encoded[i].length, encoded[i].digest,
                                       (Py_ssize_t)(key.len != 0 ? DIGEST_SIZE : 0));
        if (item == NULL || PyList_SetItem(result, (Py_ssize_t)i, item) < 0)
            Py_CLEAR(result);
    }

done:
    free(tiles);
    free(encoded);
    free(pixels);
    free(delta);
    free(out);
    PyBuffer_Release(&picture.view);
    PyBuffer_Release(&rectangles);
    PyBuffer_Release(&key);
    return result;
}

PyDoc_STRVAR(digest_tiles_doc,
"digest_tiles(pixels, tiles, key) -> bytes\n\nThe 33-byte digests of the tiles, one after the other.");

static PyObject *
digest_tiles(PyObject *module, PyObject *args)
{
    PyObject *source, *result = NULL;
    struct picture picture;
    struct tile *tiles = NULL;
    Py_buffer rectangles, key;
    uint8_t *out = NULL;
    size_t count, i;
    (void)module;

    if (!PyArg_ParseTuple(args, "Oy*y*:digest_tiles", &source, &rectangles, &key))
        return NULL;
    if (get_picture(source, &picture) < 0) {
        PyBuffer_Release(&rectangles);
        PyBuffer_Release(&key);
        return NULL;
    }
    tiles = get_tiles(&rectangles, &picture, &count);
    if (tiles == NULL)
        goto done;
    if (key.len != KEY_SIZE) {
        PyErr_SetString(PyExc_ValueError, "a digest key has 65552 bytes");
        goto done;
    }
    out = malloc((count ? count : 1) * DIGEST_SIZE);
    if (out == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (i = 0; i < count; i++)
        digest_tile(&picture, &tiles[i], key.buf, out + i * DIGEST_SIZE);
    Py_END_ALLOW_THREADS
    result = PyBytes_FromStringAndSize((const char *)out, (Py_ssize_t)(count * DIGEST_SIZE));

done:
    free(tiles);
    free(out);
    PyBuffer_Release(&picture.view);
    PyBuffer_Release(&rectangles);
    PyBuffer_Release(&key);
    return result;
}

PyDoc_STRVAR(solid_colour_doc,
"solid_colour(pixels) -> int | None\n\n0xRRGGBB if all pixels have that colour, else None.");

static PyObject *
solid_colour(PyObject *module, PyObject *source)
{
    struct picture picture;
    struct tile whole = {0, 0, 0, 0};
    uint32_t colour;
    int solid;
    (void)module;

    if (get_picture(source, &picture) < 0)
        return NULL;
    whole.right = picture.width;
    whole.bottom = picture.height;
    Py_BEGIN_ALLOW_THREADS
    colour = load_colour(row_of(&picture, &whole, 0));
    solid = is_solid(&picture, &whole);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&picture.view);
    return solid ? PyLong_FromUnsignedLong(colour) : Py_NewRef(Py_None);
}

/* ------------------------------------------------------------------------------------------------- Decoding */

struct source {
    const uint8_t *at, *end;
};

static size_t
left_in(const struct source *source)
{
    return (size_t)(source->end - source->at);
}

static uint32_t
fetch_pixel(const uint8_t *at, size_t bytes)
{
    uint32_t pixel = at[0];
    if (bytes > 1)
        pixel |= (uint32_t)at[1] << 8;
    if (bytes > 2)
        pixel |= (uint32_t)at[2] << 16;
    return pixel;
}

/* NULL, or what is wrong. `out` has width * height * bytes. As FreeRDP does, "the first row" is judged once an order. */
static const char *
decode_rle(struct source in, uint8_t *out, size_t width, size_t height, int bits_per_pixel)
{
    size_t bytes = bytes_of(bits_per_pixel), total = width * height, at = 0;
    uint32_t white = ((uint32_t)1 << bits_per_pixel) - 1, foreground = white, a = 0, b = 0;
    int first = 1, insert = 0;

    while (left_in(&in) != 0) {
        uint8_t code = *in.at++, id, mask = 0;
        size_t length = 1, extra = 0, pixels;
        const uint8_t *above;

        if (first && at >= width) {
            first = 0;
            insert = 0;
        }
        if (code < 0xF0) {
            int image;
            if ((code & 0xC0) != 0xC0) {
                id = code >> 5;
                length = code & 31;
                extra = 32;
            } else {
                id = code >> 4;
                length = code & 15;
                extra = 16;
            }
            if (id == 5)
                return "undefined order";
            image = id == 2 || id == 13;
            if (length == 0) {
                if (left_in(&in) < 1)
                    return "the length of an order is missing";
                length = *in.at++ + (image ? 1 : extra);
            } else if (image) {
                length *= 8;
            }
        } else if (code <= 0xF8 && code != 0xF5) {
            static const uint8_t ids[] = {0, 1, 2, 3, 4, 5, 12, 13, 14};
            id = ids[code - 0xF0];
            if (left_in(&in) < 2)
                return "the length of an order is missing";
            length = (size_t)in.at[0] | (size_t)in.at[1] << 8;
            in.at += 2;
        } else if (code == 0xF9 || code == 0xFA) {
            id = code;
            length = 8;
        } else if (code == 0xFD || code == 0xFE) {
            id = code;
        } else {
            return "undefined order";
        }
        pixels = id == 14 ? 2 * length : length;
        if (pixels > total - at)
            return "an order goes past the end of the picture";
        if (id == 12 || id == 13 || id == 3 || id == 14) {
            if (left_in(&in) < (id == 14 ? 2 * bytes : bytes))
                return "the colour of an order is missing";
            a = fetch_pixel(in.at, bytes);
            in.at += bytes;
            if (id == 14) {
                b = fetch_pixel(in.at, bytes);
                in.at += bytes;
            } else if (id != 3) {
                foreground = a;
            }
        }
        /* Only read when `first` is not set; then at >= width, so it lies in what is already decoded. */
        above = out + (first ? 0 : (at - width) * bytes);
#define ABOVE (first ? 0 : fetch_pixel(above, bytes))
#define PUT(pixel)                                                                                                     \
    do {                                                                                                               \
        store_pixel(out + at * bytes, (pixel), bytes);                                                                 \
        at++;                                                                                                          \
        above += first ? 0 : bytes;                                                                                    \
    } while (0)
        switch (id) {
        case 0:
            if (insert && length > 0) {
                PUT(ABOVE ^ foreground);
                length--;
            }
            while (length-- > 0)
                PUT(ABOVE);
            insert = 1;
            continue;
        case 1:
        case 12:
            while (length-- > 0)
                PUT(ABOVE ^ foreground);
            break;
        case 2:
        case 13:
        case 0xF9:
        case 0xFA: {
            size_t i;
            if (id <= 13 && left_in(&in) < (length + 7) / 8)
                return "masks are missing";
            for (i = 0; i < length; i++) {
                if (i % 8 == 0)
                    mask = id == 0xF9 ? 3 : id == 0xFA ? 5 : *in.at++;
                PUT(mask >> i % 8 & 1 ? ABOVE ^ foreground : ABOVE);
            }
            break;
        }
        case 3:
            while (length-- > 0)
                PUT(a);
            break;
        case 4:
            if (left_in(&in) < length * bytes)
                return "pixels are missing";
            memcpy(out + at * bytes, in.at, length * bytes);
            in.at += length * bytes;
            at += length;
            break;
        case 14:
            while (length-- > 0) {
                PUT(a);
                PUT(b);
            }
            break;
        case 0xFD:
            PUT(white);
            break;
        default: /* FE */
            PUT(0);
            break;
        }
#undef PUT
#undef ABOVE
        insert = 0;
    }
    return at == total ? NULL : "the stream ends before the picture is full";
}

static int
check_size(Py_ssize_t width, Py_ssize_t height)
{
    if (width < 1 || height < 1 || width > MAX_SIDE || height > MAX_SIDE) {
        PyErr_SetString(PyExc_ValueError, "a picture is 1 to 8192 pixels wide and high");
        return -1;
    }
    return 0;
}

PyDoc_STRVAR(rle_decode_doc,
"rle_decode(data, width, height, bits_per_pixel) -> bytearray\n\n"
"Pixels of an interleaved RLE stream, in its order, rows not padded. ValueError says what is wrong with it.");

static PyObject *
rle_decode(PyObject *module, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t width, height;
    PyObject *result = NULL;
    const char *wrong;
    uint8_t *out;
    int bits_per_pixel;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*nni:rle_decode", &data, &width, &height, &bits_per_pixel))
        return NULL;
    if (check_size(width, height) < 0)
        goto done;
    if (bits_per_pixel != 8 && bits_per_pixel != 15 && bits_per_pixel != 16 && bits_per_pixel != 24) {
        PyErr_SetString(PyExc_ValueError, "bits_per_pixel is 8, 15, 16 or 24");
        goto done;
    }
    result = PyByteArray_FromStringAndSize(NULL, width * height * (Py_ssize_t)bytes_of(bits_per_pixel));
    if (result == NULL)
        goto done;
    out = (uint8_t *)PyByteArray_AsString(result); /* nobody else knows it yet */
    Py_BEGIN_ALLOW_THREADS
    struct source in = {data.buf, (const uint8_t *)data.buf + data.len};
    wrong = decode_rle(in, out, (size_t)width, (size_t)height, bits_per_pixel);
    Py_END_ALLOW_THREADS
    if (wrong != NULL) {
        PyErr_SetString(PyExc_ValueError, wrong);
        Py_CLEAR(result);
    }

done:
    PyBuffer_Release(&data);
    return result;
}

static const char *
decode_plane(struct source *in, uint8_t *out, size_t width, size_t height)
{
    size_t x, y;

    for (y = 0; y < height; y++, out += width) {
        uint8_t last = 0;
        for (x = 0; x < width;) {
            size_t raw, run;
            if (left_in(in) < 1)
                return "a plane ends before its last row is full";
            raw = *in->at >> 4;
            run = *in->at++ & 15;
            if (run == 1 || run == 2) {
                run = raw + 16 * run;
                raw = 0;
            }
            if (raw + run > width - x)
                return "a segment goes past the end of its row";
            if (left_in(in) < raw)
                return "the raw bytes of a segment are missing";
            for (; raw > 0; raw--, x++) {
                uint8_t coded = *in->at++;
                last = y == 0 ? coded : (uint8_t)(coded >> 1 ^ (coded & 1 ? 0xFF : 0));
                out[x] = (uint8_t)(y == 0 ? last : last + out[x - width]);
            }
            for (; run > 0; run--, x++)
                out[x] = (uint8_t)(y == 0 ? last : last + (out - width)[x]);
        }
    }
    return NULL;
}

PyDoc_STRVAR(plane_decode_doc,
"plane_decode(data, offset, width, height) -> tuple[bytearray, int]\n\n"
"One RLE-coded plane and the offset behind it. ValueError says what is wrong with it.");

static PyObject *
plane_decode(PyObject *module, PyObject *args)
{
    Py_buffer data;
    Py_ssize_t offset, width, height;
    PyObject *plane, *result = NULL;
    const char *wrong;
    struct source in;
    uint8_t *out;
    (void)module;

    if (!PyArg_ParseTuple(args, "y*nnn:plane_decode", &data, &offset, &width, &height))
        return NULL;
    if (check_size(width, height) < 0)
        goto done;
    if (offset < 0 || offset > data.len) {
        PyErr_SetString(PyExc_ValueError, "the offset lies outside the data");
        goto done;
    }
    plane = PyByteArray_FromStringAndSize(NULL, width * height);
    if (plane == NULL)
        goto done;
    out = (uint8_t *)PyByteArray_AsString(plane);
    in = (struct source){(const uint8_t *)data.buf + offset, (const uint8_t *)data.buf + data.len};
    Py_BEGIN_ALLOW_THREADS
    wrong = decode_plane(&in, out, (size_t)width, (size_t)height);
    Py_END_ALLOW_THREADS
    if (wrong != NULL)
        PyErr_SetString(PyExc_ValueError, wrong);
    else
        result = Py_BuildValue("On", plane, (Py_ssize_t)(in.at - (const uint8_t *)data.buf));
    Py_DECREF(plane);

done:
    PyBuffer_Release(&data);
    return result;
}

/* ------------------------------------------------------------------------------------------- RFB: client pixels */

/* How a pixel is written: client_pixels.py, PixelForm. */
struct form {
    uint32_t tables[3][256]; /* what blue, green and red contribute to the number of a pixel */
    size_t size;             /* bytes of it that are written, least significant first */
    int shifts[3];           /* if is_shifted, all that the tables do */
    int is_shifted;
    int keeps_apart;         /* whether two colours are two numbers, so colours can be compared before they are one */
};

static int
get_form(const Py_buffer *tables, int size, struct form *form)
{
    int plane, colour;

    if (size < 1 || size > 4 || tables->len != (Py_ssize_t)sizeof form->tables) {
        PyErr_SetString(PyExc_ValueError, "a pixel form is three tables of 256 uint32 and a size of 1 to 4");
        return -1;
    }
    memcpy(form->tables, tables->buf, sizeof form->tables);
    form->size = (size_t)size;
    form->is_shifted = 1;
    for (plane = 0; plane < 3; plane++) {
        const uint32_t *table = form->tables[plane];
        int shift = 0;
        while (shift < 24 && table[1] != (uint32_t)1 << shift)
            shift++;
        form->shifts[plane] = shift;
        for (colour = 0; colour < 256; colour++)
            form->is_shifted &= table[colour] == (uint32_t)colour << shift;
    }
    form->keeps_apart = form->is_shifted;
    for (plane = 0; plane < 3; plane++) {
        int apart = form->shifts[plane] - form->shifts[(plane + 1) % 3];
        form->keeps_apart &= apart >= 8 || apart <= -8;
    }
    return 0;
}

static uint32_t
number_of(const struct form *form, uint32_t colour)
{
    return form->tables[0][colour & 0xFF] | form->tables[1][colour >> 8 & 0xFF] | form->tables[2][colour >> 16 & 0xFF];
}

/* Copy a part of a picture as numbers of pixels. */
static void
load_form(const struct picture *picture, const struct tile *tile, const struct form *form, uint32_t *pixels)
{
    size_t columns = tile->right - tile->left, rows = tile->bottom - tile->top, x, y;
    const uint32_t *blue = form->tables[0], *green = form->tables[1], *red = form->tables[2];
    int b = form->shifts[0], g = form->shifts[1], r = form->shifts[2];

    for (y = 0; y < rows; y++, pixels += columns) {
        const uint8_t *from = row_of(picture, tile, y);
        if (form->is_shifted && b == 0 && g == 8 && r == 16) {
            for (x = 0; x < columns; x++)
                pixels[x] = load_colour(from + 4 * x);
        } else if (form->is_shifted) {
            for (x = 0; x < columns; x++) {
                uint32_t v = load_colour(from + 4 * x);
                pixels[x] = (v & 0xFF) << b | (v >> 8 & 0xFF) << g | (v >> 16) << r;
            }
        } else {
            for (x = 0; x < columns; x++) {
                uint32_t v = load_colour(from + 4 * x);
                pixels[x] = blue[v & 0xFF] | green[v >> 8 & 0xFF] | red[v >> 16];
            }
        }
    }
}

/* All writes of the RFB encoders, which know before how much they write: there is room. */
static uint8_t *
write_pixels(uint8_t *at, const uint32_t *pixels, size_t count, size_t size)
{
    size_t i;

    switch (size) {
    case 1:
        for (i = 0; i < count; i++)
            at[i] = (uint8_t)pixels[i];
        break;
    case 2:
        for (i = 0; i < count; i++) {
            at[2 * i] = (uint8_t)pixels[i];
            at[2 * i + 1] = (uint8_t)(pixels[i] >> 8);
        }
        break;
    case 3:
        for (i = 0; i < count; i++) {
            at[3 * i] = (uint8_t)pixels[i];
            at[3 * i + 1] = (uint8_t)(pixels[i] >> 8);
            at[3 * i + 2] = (uint8_t)(pixels[i] >> 16);
        }
        break;
    default:
        memcpy(at, pixels, 4 * count);
    }
    return at + size * count;
}

/* Arguments (pixels, tables, size) of the RFB encoders, and so many numbers as the format has. On success the picture's
 * view is the caller's to release. */
static int
get_rfb_arguments(PyObject *args, const char *format, struct picture *picture, struct form *form, int *first,
                  int *second)
{
    PyObject *source;
    Py_buffer tables;
    int size, failed;

    if (!PyArg_ParseTuple(args, format, &source, &tables, &size, first, second))
        return -1;
    failed = get_form(&tables, size, form) < 0 || get_picture(source, picture) < 0;
    PyBuffer_Release(&tables);
    return failed ? -1 : 0;
}

PyDoc_STRVAR(rfb_pixels_doc,
"rfb_pixels(pixels, tables, size) -> bytes\n\nrdpprov.codecs.client_pixels.PixelForm.pack.");

static PyObject *
rfb_pixels(PyObject *module, PyObject *args)
{
    struct picture picture;
    struct form form;
    PyObject *result = NULL;
    uint32_t *row;
    uint8_t *out;
    (void)module;

    if (get_rfb_arguments(args, "Oy*i:rfb_pixels", &picture, &form, NULL, NULL) < 0)
        return NULL;
    row = malloc(picture.width * sizeof *row);
    if (row == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(picture.width * picture.height * form.size));
    if (result == NULL)
        goto done;
    out = (uint8_t *)PyBytes_AsString(result); /* nobody else knows it yet */
    Py_BEGIN_ALLOW_THREADS
    size_t y;
    for (y = 0; y < picture.height; y++) {
        struct tile line = {0, y, picture.width, y + 1};
        load_form(&picture, &line, &form, row);
        out = write_pixels(out, row, picture.width, form.size);
    }
    Py_END_ALLOW_THREADS

done:
    free(row);
    PyBuffer_Release(&picture.view);
    return result;
}

/* --------------------------------------------------------------------------------------------- RFB: palettes */

/* The different pixels, in the order in which they appear. */
struct palette {
    uint32_t colours[256];
    uint16_t slots[1024]; /* index + 1 of the colour that hashes there, or 0 */
    size_t count, most;
};

static void
begin_palette(struct palette *palette, size_t most)
{
    memset(palette->slots, 0, sizeof palette->slots);
    palette->count = 0;
    palette->most = most;
}

/* The index of a colour, which becomes one of the palette; -1 if there are too many. */
static int
index_of(struct palette *palette, uint32_t colour)
{
    size_t slot = colour * UINT32_C(2654435761) >> 22;

    for (; palette->slots[slot] != 0; slot = (slot + 1) & 1023)
        if (palette->colours[palette->slots[slot] - 1] == colour)
            return palette->slots[slot] - 1;
    if (palette->count == palette->most)
        return -1;
    palette->colours[palette->count] = colour;
    palette->slots[slot] = (uint16_t)++palette->count;
    return (int)palette->count - 1;
}

/* What is counted instead of numbers, where two colours are always two of them: the colours, next to free to load. */
static void
load_countable(const struct picture *picture, const struct tile *tile, const struct form *form, uint32_t *pixels)
{
    if (form->keeps_apart)
        load_tile(picture, tile, tile->right - tile->left, pixels);
    else
        load_form(picture, tile, form, pixels);
}

static void
number_palette(struct palette *palette, const struct form *form)
{
    size_t i;

    for (i = 0; form->keeps_apart && i < palette->count; i++)
        palette->colours[i] = number_of(form, palette->colours[i]);
}

#define FEW 16

/* The indices of the colours of a row, which become some of the palette; -1 if there are too many. `above` is the row
 * before, or NULL; its indices lie `width` before. */
static int
index_row(struct palette *palette, const uint32_t *row, const uint32_t *above, size_t width, uint8_t *indices)
{
    size_t x = 0, end;
    uint32_t last = 0;
    int index = -1;

    while (x < width) {
        end = width - x < FEW ? width : x + FEW;
        /* Most of a desktop is like the row above, and that is quickly seen. */
        if (above != NULL && memcmp(row + x, above + x, (end - x) * sizeof *row) == 0) {
            memcpy(indices + x, indices + x - width, end - x);
            x = end;
            continue;
        }
        for (; x < end; x++) {
            if (index < 0 || row[x] != last) {
                last = row[x];
                index = index_of(palette, last);
                if (index < 0)
                    return -1;
            }
            indices[x] = (uint8_t)index;
        }
    }
    return 0;
}

/* Fields of 1, 2, 4 or 8 bits, most significant first, to whole bytes. */
static uint8_t *
write_fields(uint8_t *at, const uint8_t *fields, size_t count, size_t bits)
{
    size_t i, used = 0;
    uint8_t byte = 0;

    if (bits == 8) {
        memcpy(at, fields, count);
        return at + count;
    }
    if (bits == 1) {
        for (; count >= 8; count -= 8, fields += 8) /* each byte is 0 or 1: gather the eight lowest bits */
            *at++ = (uint8_t)(load64(fields) * UINT64_C(0x8040201008040201) >> 56);
    } else if (bits == 4) {
        for (; count >= 2; count -= 2, fields += 2)
            *at++ = (uint8_t)(fields[0] << 4 | fields[1]);
    }
    for (i = 0; i < count; i++) {
        used += bits;
        byte = (uint8_t)(byte | fields[i] << (8 - used));
        if (used == 8) {
            *at++ = byte;
            used = 0;
            byte = 0;
        }
    }
    if (used != 0)
        *at++ = byte;
    return at;
}

/* ------------------------------------------------------------------------------------------------- RFB: ZRLE */

#define ZRLE_SIDE 64
#define ZRLE_PIXELS (ZRLE_SIDE * ZRLE_SIDE)

struct zrle_scratch {
    uint32_t pixels[ZRLE_PIXELS];
    uint16_t lengths[ZRLE_PIXELS]; /* of the runs */
    uint8_t indices[ZRLE_PIXELS];  /* of the runs, in the palette */
    uint8_t fields[ZRLE_PIXELS];
    struct palette palette;
};

static size_t
zrle_length_size(size_t run)
{
    return (run - 1) / 255 + 1;
}

static uint8_t *
write_zrle_length(uint8_t *at, size_t run)
{
    for (run--; run >= 255; run -= 255)
        *at++ = 255;
    *at++ = (uint8_t)run;
    return at;
}

/* One tile, at most 1 + its raw size. zrle.py, _encode_tile, has the same decisions. */
static uint8_t *
write_zrle_tile(uint8_t *at, struct zrle_scratch *scratch, size_t width, size_t height, size_t size)
{
    const uint32_t *pixels = scratch->pixels;
    struct palette *palette = &scratch->palette;
    size_t count = width * height, raw = count * size, plain = 0, runs = 0, coded = 0, best, i, k;
    size_t packed = SIZE_MAX, bits = 0;
    int few = 1;

    begin_palette(palette, 127);
    for (i = 0; i < count && (few || plain <= raw);) {
        size_t run = run_length(pixels, i, count, pixels[i]), length_size = zrle_length_size(run);
        plain += size + length_size;
        if (few) {
            int index = index_of(palette, pixels[i]);
            few = index >= 0;
            coded += run == 1 ? 1 : 1 + length_size;
            scratch->indices[runs] = (uint8_t)index;
        }
        scratch->lengths[runs++] = (uint16_t)run;
        i += run;
    }
    if (runs == 1) {
        *at++ = 1;
        return write_pixels(at, pixels, 1, size);
    }
    coded = few ? coded + palette->count * size : SIZE_MAX;
    if (few && palette->count <= 16) {
        bits = palette->count == 2 ? 1 : palette->count <= 4 ? 2 : 4;
        packed = palette->count * size + height * ((width * bits + 7) / 8);
    }
    best = packed;
    best = coded < best ? coded : best;
    best = plain < best ? plain : best;
    best = raw < best ? raw : best;
    if (best == packed) {
        uint8_t *field = scratch->fields;
        *at++ = (uint8_t)palette->count;
        at = write_pixels(at, palette->colours, palette->count, size);
        for (k = 0; k < runs; k++) {
            memset(field, scratch->indices[k], scratch->lengths[k]);
            field += scratch->lengths[k];
        }
        for (k = 0; k < height; k++)
            at = write_fields(at, scratch->fields + k * width, width, bits);
    } else if (best == coded) {
        *at++ = (uint8_t)(128 + palette->count);
        at = write_pixels(at, palette->colours, palette->count, size);
        for (k = 0; k < runs; k++) {
            if (scratch->lengths[k] == 1) {
                *at++ = scratch->indices[k];
            } else {
                *at++ = (uint8_t)(scratch->indices[k] | 128);
                at = write_zrle_length(at, scratch->lengths[k]);
            }
        }
    } else if (best == plain) {
        *at++ = 128;
        for (i = k = 0; k < runs; i += scratch->lengths[k++]) {
            at = write_pixels(at, pixels + i, 1, size);
            at = write_zrle_length(at, scratch->lengths[k]);
        }
    } else {
        *at++ = 0;
        at = write_pixels(at, pixels, count, size);
    }
    return at;
}

PyDoc_STRVAR(zrle_tiles_doc,
"zrle_tiles(pixels, tables, size) -> bytes\n\nrdpprov.codecs.zrle.tiles.");

static PyObject *
zrle_tiles(PyObject *module, PyObject *args)
{
    struct picture picture;
    struct form form;
    struct zrle_scratch *scratch;
    PyObject *result = NULL;
    uint8_t *out, *at;
    size_t tiles;
    (void)module;

    if (get_rfb_arguments(args, "Oy*i:zrle_tiles", &picture, &form, NULL, NULL) < 0)
        return NULL;
    tiles = ((picture.width + ZRLE_SIDE - 1) / ZRLE_SIDE) * ((picture.height + ZRLE_SIDE - 1) / ZRLE_SIDE);
    scratch = malloc(sizeof *scratch);
    out = malloc(picture.width * picture.height * form.size + tiles);
    if (scratch == NULL || out == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    at = out;
    Py_BEGIN_ALLOW_THREADS
    size_t x, y;
    for (y = 0; y < picture.height; y += ZRLE_SIDE) {
        for (x = 0; x < picture.width; x += ZRLE_SIDE) {
            struct tile tile = {x, y, x + ZRLE_SIDE, y + ZRLE_SIDE};
            if (tile.right > picture.width)
                tile.right = picture.width;
            if (tile.bottom > picture.height)
                tile.bottom = picture.height;
            load_form(&picture, &tile, &form, scratch->pixels);
            at = write_zrle_tile(at, scratch, tile.right - tile.left, tile.bottom - tile.top, form.size);
        }
    }
    Py_END_ALLOW_THREADS
    result = PyBytes_FromStringAndSize((const char *)out, at - out);

done:
    free(scratch);
    free(out);
    PyBuffer_Release(&picture.view);
    return result;
}

/* ------------------------------------------------------------------------------------------------ RFB: Tight */

#define MAX_CELL 64
#define UPPER 8 /* rows of a cell; those of a photograph show by then that it has too many colours */

/* Places for the hashes of colours. A cell writes its own mark, so they are not wiped for each. */
struct marks {
    uint8_t places[4096], mark;
};

/* Whether it is certain that a part of a cell has more than `most` colours: so many places are marked. It gives up soon
 * where that is not likely, and takes a third of the time of a palette. */
static int
surely_has_more(struct marks *marks, const uint32_t *pixels, size_t width, size_t height, size_t most)
{
    size_t found = 0, x, y;

    if (++marks->mark == 0) {
        memset(marks->places, 0, sizeof marks->places);
        marks->mark = 1;
    }
    for (y = 0; y < height; y++, pixels += width) {
        for (x = 0; x < width; x++) {
            uint8_t *place = marks->places + (pixels[x] * UINT32_C(2654435761) >> 20);
            found += *place != marks->mark;
            *place = marks->mark;
        }
        if (found > most)
            return 1;
        if (found < (y + 1) * width / 2)
            return 0;
    }
    return 0;
}

/* How many colours a cell has, 0 for more than `most`, and the first two. */
static void
count_cell(const struct picture *picture, const struct tile *cell, const struct form *form, struct palette *palette,
           struct marks *marks, size_t most, uint32_t result[3])
{
    uint32_t pixels[MAX_CELL * MAX_CELL];
    uint8_t indices[2 * MAX_CELL] = {0}; /* for nobody */
    size_t width = cell->right - cell->left, height = cell->bottom - cell->top, y;
    struct tile upper = *cell, lower = *cell;

    begin_palette(palette, most);
    palette->colours[0] = palette->colours[1] = 0;
    upper.bottom = lower.top = cell->top + (height < UPPER ? height : UPPER);
    load_countable(picture, &upper, form, pixels);
    if (surely_has_more(marks, pixels, width, upper.bottom - upper.top, most)) {
        palette->most = most < 2 ? most : 2; /* to name them */
        height = upper.bottom - upper.top;
    } else {
        load_countable(picture, &lower, form, pixels + (upper.bottom - upper.top) * width);
    }
    for (y = 0; y < height; y++)
        if (index_row(palette, pixels + y * width, y ? pixels + (y - 1) * width : NULL, width, indices + MAX_CELL) < 0)
            break;
    number_palette(palette, form);
    result[0] = y < height ? 0 : (uint32_t)palette->count;
    result[1] = palette->colours[0];
    result[2] = palette->colours[1];
}

PyDoc_STRVAR(count_colours_doc,
"count_colours(pixels, tables, size, side, most) -> bytes\n\nrdpprov.codecs.tight.count_colours: three uint32 a cell.");

static PyObject *
count_colours(PyObject *module, PyObject *args)
{
    struct picture picture;
    struct form form;
    struct palette *palette;
    PyObject *result = NULL;
    uint32_t *out;
    size_t across, down;
    int side, most;
    (void)module;

    if (get_rfb_arguments(args, "Oy*iii:count_colours", &picture, &form, &side, &most) < 0)
        return NULL;
    if (side < 1 || side > MAX_CELL || most < 1 || most > 256) {
        PyErr_SetString(PyExc_ValueError, "a cell has 1 to 64 pixels a side, and 1 to 256 colours are counted");
        PyBuffer_Release(&picture.view);
        return NULL;
    }
    across = (picture.width + (size_t)side - 1) / (size_t)side;
    down = (picture.height + (size_t)side - 1) / (size_t)side;
    palette = malloc(sizeof *palette);
    out = malloc(across * down * 3 * sizeof *out);
    if (palette == NULL || out == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    struct marks marks = {{0}, 0};
    uint32_t *counted = out;
    size_t x, y;
    for (y = 0; y < picture.height; y += (size_t)side) {
        for (x = 0; x < picture.width; x += (size_t)side, counted += 3) {
            struct tile cell = {x, y, x + (size_t)side, y + (size_t)side};
            if (cell.right > picture.width)
                cell.right = picture.width;
            if (cell.bottom > picture.height)
                cell.bottom = picture.height;
            count_cell(&picture, &cell, &form, palette, &marks, (size_t)most, counted);
        }
    }
    Py_END_ALLOW_THREADS
    result = PyBytes_FromStringAndSize((const char *)out, (Py_ssize_t)(across * down * 3 * sizeof *out));

done:
    free(palette);
    free(out);
    PyBuffer_Release(&picture.view);
    return result;
}

PyDoc_STRVAR(tight_indices_doc,
"tight_indices(pixels, tables, size, most) -> tuple[bytes, bytes] | None\n\nrdpprov.codecs.tight.indices.");

static PyObject *
tight_indices(PyObject *module, PyObject *args)
{
    struct picture picture;
    struct form form;
    struct palette *palette;
    PyObject *result = NULL;
    uint32_t *rows;
    uint8_t *indices, colours[256 * 4];
    size_t count, data = 0;
    int most, failed = 0;
    (void)module;

    if (get_rfb_arguments(args, "Oy*ii:tight_indices", &picture, &form, &most, NULL) < 0)
        return NULL;
    if (most < 1 || most > 256) {
        PyErr_SetString(PyExc_ValueError, "a palette has 1 to 256 colours");
        PyBuffer_Release(&picture.view);
        return NULL;
    }
    count = picture.width * picture.height;
    palette = malloc(sizeof *palette);
    rows = malloc(2 * picture.width * sizeof *rows);
    indices = malloc(count);
    if (palette == NULL || rows == NULL || indices == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    const uint32_t *above = NULL;
    size_t y;
    begin_palette(palette, (size_t)most);
    for (y = 0; y < picture.height && !failed; y++) {
        struct tile line = {0, y, picture.width, y + 1};
        uint32_t *row = rows + (y & 1) * picture.width;
        load_countable(&picture, &line, &form, row);
        failed = index_row(palette, row, above, picture.width, indices + y * picture.width) < 0;
        above = row;
    }
    number_palette(palette, &form);
    if (!failed) {
        (void)write_pixels(colours, palette->colours, palette->count, form.size);
        if (palette->count == 2) { /* bits take less than indices, and each row is written before it is overwritten */
            uint8_t *at = indices;
            for (y = 0; y < picture.height; y++)
                at = write_fields(at, indices + y * picture.width, picture.width, 1);
            data = (size_t)(at - indices);
        } else if (palette->count > 2) {
            data = count;
        }
    }
    Py_END_ALLOW_THREADS
    result = failed ? Py_NewRef(Py_None)
                    : Py_BuildValue("y#y#", colours, (Py_ssize_t)(palette->count * form.size), indices,
                                    (Py_ssize_t)data);

done:
    free(palette);
    free(rows);
    free(indices);
    PyBuffer_Release(&picture.view);
    return result;
}

/* ---------------------------------------------------------------------------------------------- RFB: Hextile */

#define HEXTILE_SIDE 16
#define HEXTILE_PIXELS (HEXTILE_SIDE * HEXTILE_SIDE)

enum { HEXTILE_RAW = 1, HEXTILE_BACKGROUND = 2, HEXTILE_FOREGROUND = 4, HEXTILE_ANY = 8, HEXTILE_COLOURED = 16 };

/* What carries over from one tile to the next. */
struct hextile {
    uint32_t background, foreground;
    int has_background, has_foreground;
};

/* One tile, at most 1 + its raw size. hextile.py, _encode_tile, has the same decisions. */
static uint8_t *
write_hextile(uint8_t *at, struct hextile *carried, struct palette *palette, const uint32_t *pixels, size_t width,
              size_t height, size_t size)
{
    uint8_t indices[HEXTILE_PIXELS], rectangles[3 * HEXTILE_PIXELS]; /* index, place, extent */
    size_t counts[HEXTILE_PIXELS] = {0}, count = width * height, found = 0, total, x, y, i;
    uint8_t background = 0;
    int mask = 0;

    begin_palette(palette, 256);
    for (i = 0; i < count; i++) {
        indices[i] = (uint8_t)index_of(palette, pixels[i]);
        counts[indices[i]]++;
    }
    for (i = 1; i < palette->count; i++)
        if (counts[i] > counts[background])
            background = (uint8_t)i;
    for (y = 0; y < height && palette->count > 1; y++) {
        for (x = 0; x < width; x++) {
            uint8_t *from = indices + y * width + x, index = *from;
            size_t right = 1, down = 1, j;
            if (index == background)
                continue;
            while (x + right < width && from[right] == index)
                right++;
            for (; y + down < height; down++) {
                for (j = 0; j < right && from[down * width + j] == index; j++)
                    ;
                if (j < right)
                    break;
            }
            for (j = 0; j < down; j++)
                memset(from + j * width, background, right);
            rectangles[3 * found] = index;
            rectangles[3 * found + 1] = (uint8_t)(x << 4 | y);
            rectangles[3 * found + 2] = (uint8_t)((right - 1) << 4 | (down - 1));
            found++;
        }
    }
    if (!carried->has_background || carried->background != palette->colours[background])
        mask |= HEXTILE_BACKGROUND;
    if (palette->count == 2 && (!carried->has_foreground || carried->foreground != palette->colours[1 - background]))
        mask |= HEXTILE_FOREGROUND;
    if (palette->count > 1)
        mask |= HEXTILE_ANY;
    if (palette->count > 2)
        mask |= HEXTILE_COLOURED;
    total = (mask & HEXTILE_BACKGROUND ? size : 0) + (mask & HEXTILE_FOREGROUND ? size : 0)
            + (mask & HEXTILE_ANY ? 1 : 0) + found * (mask & HEXTILE_COLOURED ? size + 2 : 2);
    if (found > 255 || total >= count * size) {
        *at++ = HEXTILE_RAW;
        carried->has_background = carried->has_foreground = 0;
        return write_pixels(at, pixels, count, size);
    }
    *at++ = (uint8_t)mask;
    if (mask & HEXTILE_BACKGROUND)
        at = write_pixels(at, palette->colours + background, 1, size);
    if (mask & HEXTILE_FOREGROUND)
        at = write_pixels(at, palette->colours + 1 - background, 1, size);
    if (mask & HEXTILE_ANY)
        *at++ = (uint8_t)found;
    for (i = 0; i < found; i++) {
        if (mask & HEXTILE_COLOURED)
            at = write_pixels(at, palette->colours + rectangles[3 * i], 1, size);
        *at++ = rectangles[3 * i + 1];
        *at++ = rectangles[3 * i + 2];
    }
    carried->background = palette->colours[background];
    carried->has_background = 1;
    if (palette->count == 2) {
        carried->foreground = palette->colours[1 - background];
        carried->has_foreground = 1;
    } else if (palette->count > 2) {
        carried->has_foreground = 0;
    }
    return at;
}

PyDoc_STRVAR(hextile_doc,
"hextile(pixels, tables, size) -> bytes\n\nrdpprov.codecs.hextile.encode.");

static PyObject *
hextile(PyObject *module, PyObject *args)
{
    struct picture picture;
    struct form form;
    struct palette *palette;
    PyObject *result = NULL;
    uint8_t *out, *at;
    size_t tiles;
    (void)module;

    if (get_rfb_arguments(args, "Oy*i:hextile", &picture, &form, NULL, NULL) < 0)
        return NULL;
    tiles = ((picture.width + HEXTILE_SIDE - 1) / HEXTILE_SIDE) * ((picture.height + HEXTILE_SIDE - 1) / HEXTILE_SIDE);
    palette = malloc(sizeof *palette);
    out = malloc(picture.width * picture.height * form.size + tiles);
    if (palette == NULL || out == NULL) {
        PyErr_NoMemory();
        goto done;
    }
    at = out;
    Py_BEGIN_ALLOW_THREADS
    struct hextile carried = {0, 0, 0, 0};
    uint32_t pixels[HEXTILE_PIXELS];
    size_t x, y;
    for (y = 0; y < picture.height; y += HEXTILE_SIDE) {
        for (x = 0; x < picture.width; x += HEXTILE_SIDE) {
            struct tile tile = {x, y, x + HEXTILE_SIDE, y + HEXTILE_SIDE};
            if (tile.right > picture.width)
                tile.right = picture.width;
            if (tile.bottom > picture.height)
                tile.bottom = picture.height;
            load_form(&picture, &tile, &form, pixels);
            at = write_hextile(at, &carried, palette, pixels, tile.right - tile.left, tile.bottom - tile.top,
                               form.size);
        }
    }
    Py_END_ALLOW_THREADS
    result = PyBytes_FromStringAndSize((const char *)out, at - out);

done:
    free(palette);
    free(out);
    PyBuffer_Release(&picture.view);
    return result;
}

/* ------------------------------------------------------------------------------------------------ Painting */

#define OPAQUE 0xFF000000u

/* What is painted on: an array (height, width) of uint32, pixels contiguous within a row, whose first pixel is at
 * (left, top) of the screen. */
struct canvas {
    Py_buffer view;
    Py_ssize_t left, top, right, bottom;
};

static uint8_t *
pixel_at(const struct canvas *canvas, Py_ssize_t x, Py_ssize_t y)
{
    return (uint8_t *)canvas->view.buf + (y - canvas->top) * canvas->view.strides[0] + (x - canvas->left) * 4;
}

/* Fill a rectangle, which lies on the canvas. */
static void
paint_fill(const struct canvas *canvas, Py_ssize_t left, Py_ssize_t top, Py_ssize_t right, Py_ssize_t bottom,
           uint32_t colour)
{
    Py_ssize_t x, y;

    for (y = top; y < bottom; y++) {
        uint8_t *to = pixel_at(canvas, left, y);
        for (x = left; x < right; x++, to += 4) /* in a packet, behind its header, pixels may begin at any byte */
            memcpy(to, &colour, 4);
    }
}

/* The same with a bitmap that is as large as its rectangle, `edge`. -1 and an exception if it is not. */
static int
paint_bitmap(const struct canvas *canvas, const Py_ssize_t edge[4], Py_ssize_t left, Py_ssize_t top, Py_ssize_t right,
             Py_ssize_t bottom, PyObject *content)
{
    Py_buffer bitmap;
    Py_ssize_t x, y;

    if (PyObject_GetBuffer(content, &bitmap, PyBUF_STRIDES) < 0)
        return -1;
    if (bitmap.ndim != 2 || bitmap.itemsize != 4 || bitmap.shape[0] != edge[3] - edge[1]
        || bitmap.shape[1] != edge[2] - edge[0]) {
        PyErr_SetString(PyExc_ValueError, "a bitmap is an array (height, width) of uint32 with its rectangle's size");
        PyBuffer_Release(&bitmap);
        return -1;
    }
    for (y = top; y < bottom; y++) {
        const uint8_t *from = (const uint8_t *)bitmap.buf + (y - edge[1]) * bitmap.strides[0]
                              + (left - edge[0]) * bitmap.strides[1];
        uint8_t *to = pixel_at(canvas, left, y);
        if (bitmap.strides[1] == 4) {
            memcpy(to, from, (size_t)(right - left) * 4);
            continue;
        }
        for (x = left; x < right; x++, from += bitmap.strides[1], to += 4) /* a mirrored one */
            memcpy(to, from, 4);
    }
    PyBuffer_Release(&bitmap);
    return 0;
}

static int
paint_item(const struct canvas *canvas, PyObject *item)
{
    Py_ssize_t edge[4], left, top, right, bottom;
    PyObject *content;
    unsigned long colour;
    int i;

    if (!PyTuple_Check(item) || PyTuple_Size(item) != 5) {
        PyErr_SetString(PyExc_ValueError, "an item is a tuple: left, top, right, bottom, and a colour or a bitmap");
        return -1;
    }
    for (i = 0; i < 4; i++) {
        static const int order[4] = {1, 3, 0, 2}; /* most items are above or below */
        Py_ssize_t place = PyLong_AsSsize_t(PyTuple_GetItem(item, order[i]));
        if (place == -1 && PyErr_Occurred())
            return -1;
        if (place < -MAX_PLACE || place > MAX_PLACE) {
            PyErr_SetString(PyExc_ValueError, "an item too far away");
            return -1;
        }
        edge[order[i]] = place;
        if (i == 1 && (edge[1] >= canvas->bottom || edge[3] <= canvas->top))
            return 0;
    }
    left = edge[0] > canvas->left ? edge[0] : canvas->left;
    top = edge[1] > canvas->top ? edge[1] : canvas->top;
    right = edge[2] < canvas->right ? edge[2] : canvas->right;
    bottom = edge[3] < canvas->bottom ? edge[3] : canvas->bottom;
    if (left >= right || top >= bottom)
        return 0;
    content = PyTuple_GetItem(item, 4);
    if (!PyLong_Check(content))
        return paint_bitmap(canvas, edge, left, top, right, bottom, content);
    colour = PyLong_AsUnsignedLong(content);
    if (PyErr_Occurred())
        return -1;
    paint_fill(canvas, left, top, right, bottom, OPAQUE | (uint32_t)colour);
    return 0;
}

PyDoc_STRVAR(paint_doc, "paint(pixels, left, top, items)\n\nSee rdpprov.codecs.painting.paint.");

/* Holds the GIL all the time: items are Python's. */
static PyObject *
paint(PyObject *module, PyObject *args)
{
    PyObject *pixels, *items, *result = NULL;
    struct canvas canvas;
    Py_ssize_t i, count;
    (void)module;

    if (!PyArg_ParseTuple(args, "OnnO:paint", &pixels, &canvas.left, &canvas.top, &items))
        return NULL;
    if (PyObject_GetBuffer(pixels, &canvas.view, PyBUF_STRIDES | PyBUF_WRITABLE) < 0)
        return NULL;
    if (canvas.view.ndim != 2 || canvas.view.itemsize != 4
        || (canvas.view.shape[1] > 1 && canvas.view.strides[1] != 4)) {
        PyErr_SetString(PyExc_ValueError, "pixels are an array (height, width) of uint32, contiguous within a row");
        goto done;
    }
    if (canvas.left < -MAX_PLACE || canvas.left > MAX_PLACE || canvas.top < -MAX_PLACE || canvas.top > MAX_PLACE
        || canvas.view.shape[0] > MAX_PLACE || canvas.view.shape[1] > MAX_PLACE) {
        PyErr_SetString(PyExc_ValueError, "pixels too far away");
        goto done;
    }
    canvas.right = canvas.left + canvas.view.shape[1];
    canvas.bottom = canvas.top + canvas.view.shape[0];
    count = PySequence_Size(items);
    for (i = 0; i < count; i++) {
        PyObject *item = PySequence_GetItem(items, i);
        int failed = item == NULL || paint_item(&canvas, item) < 0;
        Py_XDECREF(item);
        if (failed)
            goto done;
    }
    if (count >= 0)
        result = Py_NewRef(Py_None);

done:
    PyBuffer_Release(&canvas.view);
    return result;
}

/* --------------------------------------------------------------------------------------------------- Module */

static PyMethodDef methods[] = {
    {"encode", encode, METH_VARARGS, encode_doc},
    {"encode_tiles", encode_tiles, METH_VARARGS, encode_tiles_doc},
    {"digest_tiles", digest_tiles, METH_VARARGS, digest_tiles_doc},
    {"paint", paint, METH_VARARGS, paint_doc},
    {"solid_colour", solid_colour, METH_O, solid_colour_doc},
    {"rle_decode", rle_decode, METH_VARARGS, rle_decode_doc},
    {"plane_decode", plane_decode, METH_VARARGS, plane_decode_doc},
    {"rfb_pixels", rfb_pixels, METH_VARARGS, rfb_pixels_doc},
    {"zrle_tiles", zrle_tiles, METH_VARARGS, zrle_tiles_doc},
    {"count_colours", count_colours, METH_VARARGS, count_colours_doc},
    {"tight_indices", tight_indices, METH_VARARGS, tight_indices_doc},
    {"hextile", hextile, METH_VARARGS, hextile_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "rdpprov.codecs._native",
    .m_doc = "The loops over pixels that numpy cannot do; see the functions of the same names in rdpprov.codecs.",
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__native(void)
{
    choose_row_digester();
    return PyModuleDef_Init(&definition);
}
