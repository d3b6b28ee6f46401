/* Text: whether it is UTF-8, and what of it stands in a string of JSON as it is. */

#ifndef TAILRACE_TEXT_H
#define TAILRACE_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TAILRACE_NO_SIMD)
#include <emmintrin.h>
#define HAS_SSE2 1
#endif

static inline int is_continued(const uint8_t *p, int count, int lowest, int highest) {
    if (p[1] < lowest || p[1] > highest) return 0;
    for (int i = 2; i <= count; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    return 1;
}

/* Bytes of the character that begins at p, which is not ASCII; 0 where it is none (RFC 3629, section 4). */
static inline int character_bytes(const uint8_t *p, const uint8_t *end) {
    const int c = *p;
    const ptrdiff_t left = end - p;
    if (c >= 0xC2 && c <= 0xDF) return left > 1 && is_continued(p, 1, 0x80, 0xBF) ? 2 : 0;
    if (c >= 0xE0 && c <= 0xEF)
        return left > 2 && is_continued(p, 2, c == 0xE0 ? 0xA0 : 0x80, c == 0xED ? 0x9F : 0xBF) ? 3 : 0;
    if (c >= 0xF0 && c <= 0xF4)
        return left > 3 && is_continued(p, 3, c == 0xF0 ? 0x90 : 0x80, c == 0xF4 ? 0x8F : 0xBF) ? 4 : 0;
    return 0;
}

static inline int is_utf8(const uint8_t *p, const uint8_t *end) {
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8 && (memcpy(&eight, p, 8), (eight & 0x8080808080808080u) == 0)) {
            p += 8;
        } else if (*p < 0x80) {
            p++;
        } else {
            const int bytes = character_bytes(p, end);
            if (!bytes) return 0;
            p += bytes;
        }
    }
    return 1;
}

/* Return the first of quote mark, backslash and control character from p on, or the end; whether anything before it is
 * not ASCII is added to `wide`. */
static inline const uint8_t *plain_end(const uint8_t *p, const uint8_t *end, uint32_t *wide) {
#ifdef HAS_SSE2
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\'), control = _mm_set1_epi8(0x1F);
    for (; end - p >= 16; p += 16) {
        const __m128i block = _mm_loadu_si128((const __m128i *)p);
        const __m128i marks = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash)),
            _mm_cmpeq_epi8(_mm_max_epu8(block, control), control));
        const uint32_t stops = (uint32_t)_mm_movemask_epi8(marks);
        const uint32_t high = (uint32_t)_mm_movemask_epi8(block);
        if (stops) {
            *wide |= high & (stops ^ (stops - 1));
            return p + __builtin_ctz(stops);
        }
        *wide |= high;
    }
#else
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    for (; end - p >= 8; p += 8) {
        uint64_t block;
        memcpy(&block, p, 8);
        const uint64_t quote = block ^ ones * '"', backslash = block ^ ones * '\\';
        const uint64_t stops = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
                               ((block - ones * 0x20) & ~block);
        if (stops & highs)
            break; /* the bytes one by one: borrows may mark one behind the first */
        *wide |= (block & highs) != 0;
    }
#endif
    for (; p < end && *p >= 0x20 && *p != '"' && *p != '\\'; p++) *wide |= *p & 0x80;
    return p;
}

#endif
