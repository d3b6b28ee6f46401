/* What the C files share: what is exported, and the number by which Python knows that a shared object is of its time. */

#ifndef TAILRACE_NATIVE_H
#define TAILRACE_NATIVE_H

/* Raised with each change of a signature, a layout or a meaning, together with ABI in library.py. */
#define TAILRACE_NATIVE_ABI 3

#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

/* What both passes read alike: a byte before an end, or 0; escapes; characters. */

static inline int byte_at(const uint8_t *p, const uint8_t *end) { return p < end ? *p : 0; }

static inline int is_digit(int c) { return c >= '0' && c <= '9'; }

static inline int is_high(int32_t unit) { return (unit & 0xFC00) == 0xD800; }

static inline int is_low(int32_t unit) { return (unit & 0xFC00) == 0xDC00; }

static const int8_t HEX[256] = {
    ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
    ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
}; /* one more than the digit, 0 for what is none */

/* The code unit of the escape \uXXXX at p, -1 where that is none. */
static inline int32_t escaped_unit(const uint8_t *p, const uint8_t *end) {
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
    const int a = HEX[p[2]], b = HEX[p[3]], c = HEX[p[4]], d = HEX[p[5]];
    return a && b && c && d ? (a - 1) << 12 | (b - 1) << 8 | (c - 1) << 4 | (d - 1) : -1;
}

/* The character of the escape whose backslash is at `*p`, which is then behind it. Half a surrogate pair is U+FFFD; what
 * is no escape is one byte for two, so that no text grows. */
static inline int32_t escaped_character(const uint8_t **p, const uint8_t *end) {
    const int32_t unit = escaped_unit(*p, end);
    if (unit < 0) {
        const int c = byte_at(*p + 1, end);
        *p += 2;
        return c == 'b' ? '\b' : c == 'f' ? '\f' : c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c & 0x7F;
    }
    *p += 6;
    if (!is_high(unit)) return is_low(unit) ? 0xFFFD : unit;
    const int32_t low = escaped_unit(*p, end);
    if (!is_low(low)) return 0xFFFD;
    *p += 6;
    return 0x10000 + ((unit & 0x3FF) << 10) + (low & 0x3FF);
}

static inline uint8_t *write_utf8(uint8_t *to, int32_t code) {
    if (code < 0x80) {
        *to++ = (uint8_t)code;
        return to;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    *to++ = (uint8_t)(0xF0u << (3 - more) | (uint32_t)code >> 6 * more);
    while (more--) *to++ = (uint8_t)(0x80 | (code >> 6 * more & 0x3F));
    return to;
}

/* decimal.c */
enum { MAX_DOUBLE_BYTES = 32 };
uint8_t *tailrace_write_double(uint8_t *to, double value, const uint64_t *powers);

#endif
