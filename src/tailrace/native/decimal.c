/* Doubles as the shortest decimals that are read back as the same, by Raffaello Giulietti, "The Schubfach way to render
 * doubles" (2022); as text with a point or an exponent where msgspec has one. */

#include <stdint.h>
#include <string.h>

#include "native.h"

typedef unsigned __int128 u128;

enum { FIRST_POWER = -292, FRACTION_BITS = 52, BIAS = 1075 };
enum { LEAST_PLAIN = -5, MOST_PLAIN = 15 }; /* exponents of the first digit of what is written without one */

typedef struct {
    uint64_t digits;
    int exponent; /* of the last digit */
} Decimal;

/* The product of a power of ten, 128 bits, and c: its high bits, the last of which says whether more follow. */
static uint64_t product(const uint64_t power[2], uint64_t c) {
    const u128 low = (u128)power[1] * c;
    const u128 high = (u128)power[0] * c + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* Return the decimal with the fewest digits in the interval of c * 2^q, of those the nearest. */
static Decimal shortest(uint64_t c, int q, int is_lower_nearer, const uint64_t *powers) {
    const int k = (q * 1262611 - (is_lower_nearer ? 524031 : 0)) >> 22; /* floor(log10(2^q)), or of 3/4 of it */
    const int shift = q + (-k * 1741647 >> 19) + 1;                     /* with floor(log2(10^-k)) */
    const uint64_t *power = powers + 2 * (-k - FIRST_POWER);
    const uint64_t is_odd = c & 1;
    const uint64_t lower = product(power, (4 * c - 2 + (uint64_t)is_lower_nearer) << shift) + is_odd;
    const uint64_t middle = product(power, 4 * c << shift);
    const uint64_t upper = product(power, (4 * c + 2) << shift) - is_odd;
    const uint64_t digits = middle / 4, fewer = digits / 10;
    if (digits >= 10) {
        const int is_below = lower <= 40 * fewer, is_above = 40 * fewer + 40 <= upper;
        if (is_below != is_above) return (Decimal){fewer + (uint64_t)is_above, k + 1};
    }
    const int is_below = lower <= 4 * digits, is_above = 4 * digits + 4 <= upper;
    if (is_below != is_above) return (Decimal){digits + (uint64_t)is_above, k};
    const uint64_t half = 4 * digits + 2;
    return (Decimal){digits + (middle > half || (middle == half && digits & 1)), k};
}

static Decimal decimal_of(uint64_t bits, const uint64_t *powers) {
    const int exponent = (int)(bits >> FRACTION_BITS & 0x7FF);
    const uint64_t fraction = bits & (((uint64_t)1 << FRACTION_BITS) - 1);
    const uint64_t c = exponent ? fraction | (uint64_t)1 << FRACTION_BITS : fraction;
    const int q = (exponent ? exponent : 1) - BIAS;
    if (q <= 0 && q >= -FRACTION_BITS && !(c & (((uint64_t)1 << -q) - 1))) return (Decimal){c >> -q, 0};
    return shortest(c, q, !fraction && exponent > 1, powers);
}

static uint8_t *write_zeros(uint8_t *to, int count) {
    if (count <= 0) return to;
    memset(to, '0', (size_t)count);
    return to + count;
}

static uint8_t *write_digits(uint8_t *to, const uint8_t *digits, int count) {
    memcpy(to, digits, (size_t)count);
    return to + count;
}

/* Write a finite double, in at most MAX_DOUBLE_BYTES; return the end. `powers` are those of ten from 10^-292 to 10^324:
 * of each the first 128 bits, rounded up, the high word first. */
uint8_t *tailrace_write_double(uint8_t *to, double value, const uint64_t *powers) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (bits >> 63) *to++ = '-';
    bits &= INT64_MAX;
    if (!bits) return write_digits(to, (const uint8_t *)"0.0", 3);
    Decimal decimal = decimal_of(bits, powers);
    while (decimal.digits % 10 == 0) {
        decimal.digits /= 10;
        decimal.exponent++;
    }
    uint8_t text[20], *digits = text + sizeof text;
    for (uint64_t rest = decimal.digits; rest; rest /= 10) *--digits = (uint8_t)('0' + rest % 10);
    const int count = (int)(text + sizeof text - digits), before = count + decimal.exponent; /* the point */
    if (before - 1 < LEAST_PLAIN || before - 1 > MOST_PLAIN) {
        *to++ = *digits;
        if (count > 1) *to++ = '.';
        to = write_digits(to, digits + 1, count - 1);
        *to++ = 'e';
        int exponent = before - 1;
        if (exponent < 0) *to++ = '-';
        if (exponent < 0) exponent = -exponent;
        if (exponent >= 100) *to++ = (uint8_t)('0' + exponent / 100);
        if (exponent >= 10) *to++ = (uint8_t)('0' + exponent / 10 % 10);
        *to++ = (uint8_t)('0' + exponent % 10);
        return to;
    }
    if (before <= 0) {
        to = write_zeros(write_digits(to, (const uint8_t *)"0.", 2), -before);
        return write_digits(to, digits, count);
    }
    const int whole = before < count ? before : count;
    to = write_zeros(write_digits(to, digits, whole), before - count);
    *to++ = '.';
    return whole < count ? write_digits(to, digits + whole, count - whole) : write_zeros(to, 1);
}
