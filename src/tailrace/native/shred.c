/* Lines of JSON to Arrow columns by path and type, in two passes: `read` finds the values, `fill` writes the columns.
 *
 * Every event is a line. A line ends with the newline that ends all scanning, so that looking at one byte after another
 * needs no bound; what looks at several at once (8 digits, 32 bytes of a string) asks first how many are left.
 * Objects are walked along a trie of keys, in which each node remembers what followed it last, so that most keys are
 * recognised by one comparison. Nodes with the same flattened path share it ({"a.b":1} and {"a":{"b":1}}). Each pair of
 * a path and a type is a slot, which counts, and may have a column. Nothing here knows Python, or who may have columns.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

typedef unsigned __int128 u128;

enum { OK, NO_MEMORY, INVALID };                                     /* status of what is exported */
enum { ROW_READ, ROW_REFUSED, ROW_NO_MEMORY };                       /* of one line */
enum { BOOLEAN, INTEGER, FLOAT, STRING, ARRAY, NONE, MAP, NUMBER, KINDS };
enum { ALIASED = 1, IGNORED = 2, ESCAPED = 4, HAS_MEMBERS = 8 };      /* flags of a node */
enum {
    MAX_DEPTH = 512,
    STEP = 32,              /* bytes of a string looked at together */
    PAD = 64,               /* spare bytes behind what is written in steps */
    KEPT_SHARE = 64,        /* of the most recent values a path has: with fewer a path is forgotten */
    BYTES_PER_RECORD = 16,  /* of a text, as memory is reserved; with more it grows */
    MIN_PATH_BYTES = 65536, MAX_PATH_SHARE = 8, /* most bytes of all paths of a line, as such or times its own */
    EXACT_DIGITS = 770      /* no two neighbouring doubles have a middle of more digits */
};
#define MAX_OUTPUT 0x7fffffffu /* of a text column, whose offsets are 32 bits */
#define NO_COLUMN (-1)
#define TO_REST (-1)
#define TO_NOWHERE (-2)

typedef struct { /* a key in an object, with the objects around it; 0 is the event */
    uint64_t hash, path_hash[2];
    uint64_t seen;          /* the last line that has it */
    uint32_t parent, path;  /* path: 0 until it has a value of its own */
    uint32_t key, key_size; /* in the arena, with a quotation mark behind */
    uint32_t next, child;  /* the node that came last after it, or first within it */
    uint32_t first, last;  /* records of its value in the line `seen` */
    uint32_t json_size;    /* of its path as a JSON string, without quotation marks */
    uint32_t slot;         /* of its last value */
    uint8_t kind, flags, unused[2];
    uint32_t reserved;
} Node;

typedef struct { /* a flattened path; 0 is none */
    uint64_t hash[2];
    uint64_t line; /* the last whose aliases were dropped */
    uint32_t node; /* the first that has it; 0 if none has yet */
    uint32_t slot; /* the last that was added */
} Path;

typedef struct { /* a path and a type; 0 is none, for what was replaced */
    uint64_t bytes;  /* of this batch, as sent */
    uint64_t since;  /* orders slots by the first of their values that was not replaced */
    uint32_t count;  /* of this batch */
    uint32_t batch;  /* in which it was last seen */
    uint32_t recent; /* values in recent events */
    uint32_t path;
    int32_t column, output;
    uint8_t kind;
    uint8_t told, offered; /* whether the binding has told it as one of the rest, or as one for a column */
    uint8_t unused;
    uint32_t next; /* slot of the same path */
} Slot;

typedef struct { /* a value */
    uint32_t row, slot;
    uint32_t start, size; /* in the text; of what was replaced, `size` records together */
    uint64_t value;       /* an integer, a double's bits, a boolean, or whether a string has escapes */
} Record;

typedef struct { /* a column of this batch, as the binding reads it; places are in the one output buffer */
    int64_t number, kind, nulls;
    int64_t validity, offsets, data; /* -1: none */
    int64_t size;                    /* of the data, once filled */
    int64_t next;                    /* row from which on nothing is written yet */
} Column;

typedef struct { /* what the binding reads; the same fields in shredder.py */
    int64_t rows, bytes;
    int64_t refused_count, column_count, slot_count, untold_count;
    int64_t total; /* bytes of the output */
    uint32_t *refused;
    Column *columns;
    void *slots;
    uint32_t *untold; /* slots that came to the rest and were not told */
} Result;

typedef struct { /* an array that grows */
    void *items;
    size_t count, capacity, size; /* size: of one */
} Vector;

typedef struct { /* numbers of items, where the low bits of their hashes say, below the high bits */
    uint64_t *entries;
    size_t mask;
} Table;

typedef struct {
    Vector nodes, paths, slots, arena;
    Table node_table, path_table;
} Tables;

typedef struct {
    Result result;
    Tables tables;
    Vector touched, refused, outputs, untold;
    const uint8_t *text, *text_end;
    const uint64_t *powers; /* of five, 128 bits each, from 10^-342 on */
    uint64_t base, path_bases[2][4]; /* random, and its powers */
    uint64_t line; /* lines read, of all batches */
    uint64_t since, since_before; /* the last that a slot has, and had before this batch */
    uint64_t wide; /* bytes of the paths of all values of this batch, nulls and those replaced too */
    uint32_t batch, max_nodes;
    size_t max_arena;
    Record *records;
    size_t record_count, record_capacity;
    size_t text_size;
    int has_aliases; /* the line has values of paths that several nodes share */
    uint32_t stack[MAX_DEPTH];
} Shredder;

#define NODES(s) ((Node *)(s)->tables.nodes.items)
#define PATHS(s) ((Path *)(s)->tables.paths.items)
#define SLOTS(s) ((Slot *)(s)->tables.slots.items)
#define ARENA(s) ((uint8_t *)(s)->tables.arena.items)

/* ---- memory ---- */

static int reserve(Vector *v, size_t more) {
    if (more <= v->capacity - v->count) return 1;
    if (more > UINT32_MAX - v->count) return 0;
    size_t capacity = v->count + more + v->count / 2 + 8;
    void *items = realloc(v->items, capacity * v->size);
    if (!items) return 0;
    v->items = items;
    v->capacity = capacity;
    return 1;
}

static int push(Vector *v, uint32_t item) {
    if (!reserve(v, 1)) return 0;
    ((uint32_t *)v->items)[v->count++] = item;
    return 1;
}

/* Make room for records; those of a batch are most of its memory, and freed with it. */
static int grow_records(Shredder *s, size_t capacity) {
    Record *records = capacity > UINT32_MAX ? NULL : realloc(s->records, capacity * sizeof *records);
    if (!records) return 0;
    s->records = records;
    s->record_capacity = capacity;
    return 1;
}

static void free_records(Shredder *s) {
    free(s->records);
    s->records = NULL;
    s->record_capacity = s->record_count = 0;
}

/* ---- bytes ---- */

INLINE uint64_t load64(const uint8_t *p) {
    uint64_t word;
    memcpy(&word, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Return where in the next STEP bytes the first of three characters stands; STEP if none does. */
INLINE unsigned find_in_step(const uint8_t *p, char a, char b, char c) {
#if defined(__SSE2__)
    uint32_t found = 0;
    for (int half = 0; half < 2; half++) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(p + 16 * half));
        __m128i equal = _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(a)), _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b)));
        if (c != b) equal = _mm_or_si128(equal, _mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)));
        found |= (uint32_t)_mm_movemask_epi8(equal) << (16 * half);
    }
    return found ? (unsigned)__builtin_ctz(found) : STEP;
#elif defined(__aarch64__)
    for (unsigned half = 0; half < 2; half++) {
        uint8x16_t bytes = vld1q_u8(p + 16 * half);
        uint8x16_t equal = vorrq_u8(vceqq_u8(bytes, vdupq_n_u8((uint8_t)a)), vceqq_u8(bytes, vdupq_n_u8((uint8_t)b)));
        equal = vorrq_u8(equal, vceqq_u8(bytes, vdupq_n_u8((uint8_t)c)));
        uint64_t found = vget_lane_u64(vreinterpret_u64_u8(vshrn_n_u16(vreinterpretq_u16_u8(equal), 4)), 0);
        if (found) return 16 * half + ((unsigned)__builtin_ctzll(found) >> 2);
    }
    return STEP;
#else
    for (unsigned i = 0; i < STEP; i++)
        if (p[i] == a || p[i] == b || p[i] == c) return i;
    return STEP;
#endif
}

/* Return where the first of three characters stands from `p` on; `stop` or behind it if none does before. */
INLINE const uint8_t *find(const uint8_t *p, const uint8_t *stop, const uint8_t *text_end, char a, char b, char c) {
    while (text_end - p >= STEP) {
        unsigned at = find_in_step(p, a, b, c);
        p += at;
        if (at < STEP || p >= stop) return p;
    }
    while (p < stop && *p != a && *p != b && *p != c) p++;
    return p;
}

/* Return the closing quotation mark of a string whose content begins at `p`; NULL if the line has none. */
INLINE const uint8_t *string_end(const uint8_t *p, const uint8_t *stop, const uint8_t *text_end, int *escaped) {
    for (;;) {
        p = find(p, stop, text_end, '"', '\\', '\\');
        if (UNLIKELY(p >= stop)) return NULL;
        if (*p == '"') return p;
        *escaped = 1;
        p += 2; /* at most one behind `stop`, which is a newline that the text has */
        if (p > stop) return NULL;
    }
}

/* Return what follows an array whose content begins at `p`; NULL if it does not end on this line. */
static const uint8_t *array_end(const uint8_t *p, const uint8_t *stop, const uint8_t *text_end) {
    for (size_t depth = 1; depth;) {
        int escaped = 0;
        p = find(p, stop, text_end, '"', '[', ']');
        if (p >= stop) return NULL;
        if (*p == '"') {
            p = string_end(p + 1, stop, text_end, &escaped);
            if (!p) return NULL;
        } else {
            depth += *p == '[' ? 1u : (size_t)-1;
        }
        p++;
    }
    return p;
}

/* Copy; up to 15 bytes more are written, and read where the source has them. */
INLINE void copy_wide(uint8_t *to, const uint8_t *from, size_t size, const uint8_t *from_end) {
    if (size > 128 || UNLIKELY((size_t)(from_end - from) < size + 16)) {
        memcpy(to, from, size);
        return;
    }
    size_t at = 0;
    do {
        memcpy(to + at, from + at, 16);
        at += 16;
    } while (at < size);
}

INLINE int is_same(const uint8_t *a, const uint8_t *b, size_t size) {
    size_t at = 0;
    for (; size - at >= 8; at += 8)
        if (load64(a + at) != load64(b + at)) return 0;
    return size == at || (load64(a + at) ^ load64(b + at)) << (64 - 8 * (size - at)) == 0;
}

/* Write a string's characters, never more bytes than it has, and return how many. PAD bytes behind may be touched. */
static size_t unescape(uint8_t *to, const uint8_t *p, size_t size, const uint8_t *text_end) {
    uint8_t *begin = to;
    const uint8_t *end = p + size;
    while (p < end) {
        if (*p != '\\') {
            const uint8_t *next = find(p, end, text_end, '\\', '\\', '\\');
            size_t part = (size_t)((next < end ? next : end) - p);
            copy_wide(to, p, part, text_end);
            to += part;
            p += part;
        } else {
            to = write_utf8(to, escaped_character(&p, end));
        }
    }
    return (size_t)(to - begin);
}

INLINE size_t escaped_size(uint8_t c) {
    if (c >= 32) return c == '"' || c == '\\' ? 2 : 1;
    return c == '\b' || c == '\f' || c == '\n' || c == '\r' || c == '\t' ? 2 : 6;
}

static uint8_t *write_escaped(uint8_t *to, const uint8_t *key, size_t size) {
    static const char digits[] = "0123456789abcdef", names[] = "btn?fr"; /* of 8 to 13 */
    for (size_t i = 0; i < size; i++) {
        uint8_t c = key[i];
        size_t width = escaped_size(c);
        if (width > 1) *to++ = '\\';
        if (width == 6) {
            memcpy(to, "u00", 3);
            to[3] = (uint8_t)digits[c >> 4];
            to[4] = (uint8_t)digits[c & 15];
            to += 5;
        } else {
            *to++ = width == 2 && c < 32 ? (uint8_t)names[c - 8] : c;
        }
    }
    return to;
}

/* ---- numbers ---- */

INLINE uint64_t bits_of(double number) {
    uint64_t bits;
    memcpy(&bits, &number, 8);
    return bits;
}

#define INFINITE (UINT64_C(2047) << 52)

/* Return the bits of the double nearest to digits x 10^exponent (Lemire, "Number Parsing at a Gigabyte per Second"). */
static uint64_t nearest(const uint64_t *powers, uint64_t digits, int64_t exponent) {
    if (digits == 0 || exponent < -342) return 0;
    if (exponent > 308) return INFINITE;
    int zeros = __builtin_clzll(digits);
    digits <<= zeros;
    const uint64_t *power = powers + 2 * (exponent + 342);
    u128 product = (u128)digits * power[0];
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 511) == 511) {
        uint64_t more = (uint64_t)((u128)digits * power[1] >> 64);
        low += more;
        high += low < more;
    }
    int upper = (int)(high >> 63), shift = upper + 9;
    uint64_t mantissa = high >> shift;
    int64_t power2 = ((217706 * exponent) >> 16) + 63 + upper - zeros + 1023;
    if (power2 <= 0) { /* subnormal */
        if (1 - power2 >= 64) return 0;
        mantissa >>= 1 - power2;
        return (mantissa + (mantissa & 1)) >> 1;
    }
    if (low <= 1 && exponent >= -4 && exponent <= 23 && (mantissa & 3) == 1 && mantissa << shift == high)
        mantissa &= ~UINT64_C(1); /* in the middle of two: to the even one */
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >> 53) {
        mantissa = UINT64_C(1) << 52;
        power2++;
    }
    if (power2 >= 2047) return INFINITE;
    return (uint64_t)power2 << 52 | (mantissa & ((UINT64_C(1) << 52) - 1));
}

/* Return the bits of the double nearest to a number of many digits, of which `exponent` is the last one's.
 * strtod gets those that count, and no decimal point, which would depend on the locale. */
static uint64_t nearest_of_many(const uint8_t *digits, const uint8_t *end, int64_t exponent) {
    char text[EXACT_DIGITS + 16];
    size_t size = 0;
    int is_inexact = 0;
    for (const uint8_t *p = digits; p < end; p++) {
        if (*p == '.' || (size == 0 && *p == '0')) continue;
        if (size < EXACT_DIGITS) {
            text[size++] = (char)*p;
        } else {
            is_inexact |= *p != '0';
            exponent++;
        }
    }
    if (is_inexact) {
        text[size++] = '1';
        exponent--;
    }
    text[size++] = 'e';
    text[size++] = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    for (int64_t unit = 1000; unit; unit /= 10)
        text[size++] = (char)('0' + (exponent < 9999 ? exponent : 9999) / unit % 10);
    text[size] = 0;
    return bits_of(strtod(text, NULL));
}

INLINE const uint8_t *read_digits(const uint8_t *p, const uint8_t *text_end, uint64_t *number) {
    uint64_t n = *number;
    while (text_end - p >= 8) {
        uint64_t word = load64(p);
        if ((word & (word + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) != 0x3030303030303030) break;
        word = (word & 0x0f0f0f0f0f0f0f0f) * 2561 >> 8;
        word = (word & 0x00ff00ff00ff00ff) * 6553601 >> 16;
        word = (word & 0x0000ffff0000ffff) * 42949672960001 >> 32;
        n = n * 100000000 + word;
        p += 8;
    }
    for (unsigned digit; (digit = *p - (unsigned)'0') <= 9; p++) n = n * 10 + digit;
    *number = n;
    return p;
}

/* Read a number and return what follows it; NULL if it is none. */
INLINE const uint8_t *read_number(const Shredder *s, const uint8_t *p, const uint8_t *text_end, int *kind, uint64_t *value) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    int is_negative = *p == '-';
    const uint8_t *digits = p += is_negative;
    uint64_t n = 0;
    p = read_digits(p, text_end, &n);
    int64_t count = p - digits, exponent = 0;
    if (count == 0 || (*digits == '0' && count > 1)) return NULL;
    if (*p != '.' && (*p | 32) != 'e') {
        int fits = count < 19 || (count == 19 && n <= (uint64_t)INT64_MAX + (unsigned)is_negative);
        *kind = fits ? INTEGER : NUMBER;
        *value = is_negative ? 0 - n : n;
        return p;
    }
    if (*p == '.') {
        const uint8_t *fraction = ++p;
        p = read_digits(p, text_end, &n);
        if (p == fraction) return NULL;
        exponent = fraction - p;
        count += p - fraction;
    }
    const uint8_t *digits_end = p;
    if ((*p | 32) == 'e') {
        int is_small = *++p == '-';
        p += *p == '-' || *p == '+';
        const uint8_t *begin = p;
        int64_t power = 0;
        for (unsigned digit; (digit = *p - (unsigned)'0') <= 9; p++)
            power = power < INT64_C(1) << 50 ? power * 10 + digit : power;
        if (p == begin) return NULL;
        exponent += is_small ? -power : power;
    }
    uint64_t bits;
    if (UNLIKELY(count > 19)) bits = nearest_of_many(digits, digits_end, exponent);
    else if (n <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22)
        bits = bits_of(exponent < 0 ? (double)n / tens[-exponent] : (double)n * tens[exponent]);
    else bits = nearest(s->powers, n, exponent);
    *kind = bits == INFINITE ? NUMBER : FLOAT;
    *value = bits | (uint64_t)is_negative << 63;
    return p;
}

/* ---- hashes: polynomials of a random number modulo 2^61 - 1, so that nobody can choose keys that collide ---- */

#define PRIME ((UINT64_C(1) << 61) - 1)

/* Return the remainder of a number below 2^124. */
INLINE uint64_t reduced(u128 number) {
    uint64_t sum = (uint64_t)(number & PRIME) + (uint64_t)(number >> 61);
    sum = (sum & PRIME) + (sum >> 61);
    return sum == PRIME ? 0 : sum;
}

/* Return the hash of a key in an object, 7 bytes a coefficient. Up to 7 bytes behind the key are read. */
static uint64_t hash_of_key(const Shredder *s, uint32_t parent, const uint8_t *key, size_t size) {
    uint64_t hash = reduced((u128)(size + 1) * s->base + parent);
    for (size_t at = 0; at < size; at += 7) {
        size_t left = size - at < 7 ? size - at : 7;
        hash = reduced((u128)(hash + (load64(key + at) & ((UINT64_C(1) << 8 * left) - 1))) * s->base);
    }
    return hash;
}

/* Extend the hashes of a text by more bytes, four at a time, which gives what one at a time does. Two texts of a megabyte
 * have the same two hashes once in 10^29 times. */
static void extend_path_hash(const Shredder *s, uint64_t hash[2], const uint8_t *bytes, size_t size) {
    for (int i = 0; i < 2; i++) {
        const uint64_t *powers = s->path_bases[i];
        uint64_t h = hash[i];
        size_t at = 0;
        for (; size - at >= 4; at += 4)
            h = reduced((u128)h * powers[3] + (u128)powers[2] * (bytes[at] + 1u) + (u128)powers[1] * (bytes[at + 1] + 1u) +
                        (u128)powers[0] * (bytes[at + 2] + 1u) + bytes[at + 3] + 1);
        for (; at < size; at++) h = reduced((u128)h * powers[0] + bytes[at] + 1);
        hash[i] = h;
    }
}

/* ---- the tables ---- */

#define TAG(hash) ((hash) & ~UINT64_C(0xffffffff)) /* of a hash in a table, above the number */

INLINE void enter(Table *table, uint64_t hash, uint32_t number) {
    size_t at = hash & table->mask;
    while (table->entries[at]) at = (at + 1) & table->mask;
    table->entries[at] = TAG(hash) | number;
}

/* Make the table anew, with places for so many; return 0 without memory. An item begins with its hash. */
static int rehash(const Vector *items, size_t room, Table *table) {
    Table made = {.mask = 15};
    while (made.mask < 2 * room) made.mask = 2 * made.mask + 1;
    made.entries = calloc(made.mask + 1, sizeof *made.entries);
    if (!made.entries) return 0;
    for (size_t i = 1; i < items->count; i++)
        enter(&made, *(const uint64_t *)((const char *)items->items + i * items->size), (uint32_t)i);
    free(table->entries);
    *table = made;
    return 1;
}

/* Return whether there is room for one more, with which a third of the table is free; 0 without memory. */
static int has_room(Vector *items, Table *table) {
    return (3 * (items->count + 1) <= 2 * table->mask || rehash(items, 2 * items->count, table)) && reserve(items, 1);
}

/* Return the first hash of a path as its table has it, where texts that differ at the end alone lie apart. */
INLINE uint64_t place_of(const Shredder *s, const uint64_t hash[2]) {
    return reduced((u128)hash[0] * s->base);
}

/* Return the path of a text with these hashes, a new one if need be; 0 without memory. */
static uint32_t path_of(Shredder *s, const uint64_t hash[2]) {
    Table *table = &s->tables.path_table;
    uint64_t entry;
    for (size_t at = hash[0] & table->mask; (entry = table->entries[at]); at = (at + 1) & table->mask) {
        const Path *path = &PATHS(s)[(uint32_t)entry];
        if (TAG(entry) == TAG(hash[0]) && path->hash[0] == hash[0] && path->hash[1] == hash[1])
            return (uint32_t)entry;
    }
    if (!has_room(&s->tables.paths, table)) return 0;
    uint32_t number = (uint32_t)s->tables.paths.count++;
    PATHS(s)[number] = (Path){.hash = {hash[0], hash[1]}};
    enter(table, hash[0], number);
    return number;
}

/* Return the slot of a path and a type, a new one if need be; 0 without memory. */
static uint32_t slot_of(Shredder *s, uint32_t path, int kind) {
    for (uint32_t slot = PATHS(s)[path].slot; slot; slot = SLOTS(s)[slot].next)
        if (SLOTS(s)[slot].kind == kind) return slot;
    if (!reserve(&s->tables.slots, 1)) return 0;
    uint32_t number = (uint32_t)s->tables.slots.count++;
    SLOTS(s)[number] = (Slot){.path = path, .next = PATHS(s)[path].slot, .kind = (uint8_t)kind, .column = NO_COLUMN};
    PATHS(s)[path].slot = number;
    return number;
}

static uint32_t json_size_of(const uint8_t *key, size_t size) {
    size_t total = 0;
    for (size_t i = 0; i < size; i++) total += escaped_size(key[i]);
    return (uint32_t)total;
}

/* Add the node of a key, for whose bytes and PAD more the arena has room. */
static uint32_t new_node(Shredder *s, uint32_t parent, uint64_t key_hash, const uint8_t *key, uint32_t size) {
    if (!has_room(&s->tables.nodes, &s->tables.node_table)) return 0;
    Node *above = &NODES(s)[parent];
    __builtin_prefetch(&s->tables.node_table.entries[key_hash & s->tables.node_table.mask], 1);
    above->flags |= HAS_MEMBERS;
    uint32_t number = (uint32_t)s->tables.nodes.count++, json_size = json_size_of(key, size);
    Node *node = &NODES(s)[number];
    *node = (Node){.hash = key_hash, .path_hash = {above->path_hash[0], above->path_hash[1]}, .parent = parent};
    if (parent) extend_path_hash(s, node->path_hash, (const uint8_t *)".", 1);
    extend_path_hash(s, node->path_hash, key, size);
    __builtin_prefetch(&s->tables.path_table.entries[place_of(s, node->path_hash) & s->tables.path_table.mask]);
    node->key = (uint32_t)s->tables.arena.count;
    node->key_size = size;
    node->json_size = parent ? above->json_size + 1 + json_size : json_size;
    node->flags = json_size == size ? 0 : ESCAPED;
    if (!parent && size == 5 && memcmp(key, "_time", 5) == 0) node->flags |= IGNORED;
    memmove(ARENA(s) + node->key, key, size);
    ARENA(s)[node->key + size] = '"';
    s->tables.arena.count += size + 1;
    enter(&s->tables.node_table, key_hash, number);
    return number;
}

/* Return the node of a key in an object, a new one if need be; 0 without memory. `key_end`: of what the key is part of. */
static uint32_t node_of(Shredder *s, uint32_t parent, const uint8_t *key, size_t size, int has_escapes,
                        const uint8_t *key_end) {
    if (!reserve(&s->tables.arena, size + PAD)) return 0;
    uint8_t *spare = ARENA(s) + s->tables.arena.count;
    if (has_escapes) size = unescape(spare, key, size, s->text_end);
    else if (key_end - key < (ptrdiff_t)size + 8) memcpy(spare, key, size);
    else spare = (uint8_t *)key;
    uint64_t hash = hash_of_key(s, parent, spare, size);
    const Table *table = &s->tables.node_table;
    uint64_t entry;
    size_t at = hash & table->mask;
    for (; NODES(s)[parent].flags & HAS_MEMBERS && (entry = table->entries[at]); at = (at + 1) & table->mask) {
        const Node *node = &NODES(s)[(uint32_t)entry];
        if (TAG(entry) == TAG(hash) && node->hash == hash && node->parent == parent && node->key_size == size &&
            memcmp(ARENA(s) + node->key, spare, size) == 0)
            return (uint32_t)entry;
    }
    return new_node(s, parent, hash, spare, (uint32_t)size);
}

/* ---- pass one ---- */

static void drop(Shredder *s, Record *record) {
    if (record->slot) {
        Slot *slot = &SLOTS(s)[record->slot];
        slot->bytes -= record->size;
        if (--slot->count == 0 && slot->since > s->since_before) slot->since = 0;
        record->slot = 0;
        record->size = 1;
    }
}

/* Drop the records of a value that another one replaces. What was dropped before is passed in one step. */
static void drop_range(Shredder *s, uint32_t first, uint32_t last) {
    for (uint32_t i = first; i < last;) {
        Record *record = &s->records[i];
        uint32_t step = record->slot ? 1 : record->size;
        drop(s, record);
        i += step;
    }
    if (first < last) s->records[first].size = last - first;
}

/* Of each path that several nodes have given values to, leave the last: the line is at its end. */
static void drop_aliases(Shredder *s, size_t first) {
    for (size_t i = s->record_count; i-- > first;) {
        Record *record = &s->records[i];
        if (!record->slot) continue;
        Path *path = &PATHS(s)[SLOTS(s)[record->slot].path];
        Node *node = &NODES(s)[path->node];
        if (!(node->flags & ALIASED)) continue;
        if (path->line == s->line) drop(s, record);
        path->line = s->line;
    }
}

/* Begin the value of a node: what the line had there before is replaced. */
INLINE void begin_value(Shredder *s, Node *node) {
    if (UNLIKELY(node->seen == s->line)) drop_range(s, node->first, node->last);
    node->seen = s->line;
    node->first = node->last = (uint32_t)s->record_count;
}

/* Let a node have its path, perhaps beside others. */
static int find_path(Shredder *s, Node *node) {
    uint32_t number = path_of(s, (uint64_t[]){place_of(s, node->path_hash), node->path_hash[1]});
    if (!number) return 0;
    Path *path = &PATHS(s)[number];
    if (path->node) {
        NODES(s)[path->node].flags |= ALIASED;
        node->flags |= ALIASED;
    } else {
        path->node = (uint32_t)(node - NODES(s));
    }
    node->path = number;
    return 1;
}

static int find_slot(Shredder *s, Node *node, int kind) {
    node->slot = slot_of(s, node->path, kind);
    node->kind = (uint8_t)kind;
    return node->slot != 0;
}

/* Note that a slot has its first value of this batch, or has one again. */
static int touch(Shredder *s, uint32_t number) {
    Slot *slot = &SLOTS(s)[number];
    if (slot->batch != s->batch) {
        if (!push(&s->touched, number)) return 0;
        slot->batch = s->batch;
        slot->count = 0;
        slot->bytes = 0;
    }
    if (!slot->since) slot->since = ++s->since;
    return 1;
}

/* Add the record of a node's value; return 0 without memory. */
INLINE int add_record(Shredder *s, uint32_t row, Node *node, int kind, const uint8_t *start, size_t size, uint64_t value) {
    s->wide += node->json_size;
    if (UNLIKELY(!node->path) && !find_path(s, node)) return 0;
    if (UNLIKELY(node->flags & (ALIASED | IGNORED))) {
        if (node->flags & IGNORED) return 1;
        s->has_aliases = 1;
    } else if (kind == NONE) {
        return 1;
    }
    if (UNLIKELY(s->record_count == s->record_capacity) && !grow_records(s, s->record_capacity + s->record_capacity / 2 + 64))
        return 0;
    if (UNLIKELY(node->kind != kind || !node->slot) && !find_slot(s, node, kind)) return 0;
    Slot *slot = &SLOTS(s)[node->slot];
    if (UNLIKELY(slot->batch != s->batch || !slot->count) && !touch(s, node->slot)) return 0;
    slot->count++;
    slot->bytes += size;
    s->records[s->record_count++] = (Record){row, node->slot, (uint32_t)(start - s->text), (uint32_t)size, value};
    node->last = (uint32_t)s->record_count;
    return 1;
}

INLINE const uint8_t *skip_space(const uint8_t *p) {
    while (UNLIKELY(*p == ' ' || *p == '\t' || *p == '\r')) p++;
    return p;
}

/* Read a key, of which `*p` is the first character, and return its node; 0 without memory or, with `*p` NULL, a key. */
INLINE uint32_t read_key(Shredder *s, const uint8_t **p, const uint8_t *stop, uint32_t parent, uint32_t previous) {
    const uint8_t *key = *p;
    uint32_t number = previous ? NODES(s)[previous].next : NODES(s)[parent].child;
    const Node *node = &NODES(s)[number];
    size_t size = node->key_size;
    if (number && (size_t)(s->text_end - key) > size + 8 && is_same(ARENA(s) + node->key, key, size + 1)) {
        *p = key + size + 1;
        return number;
    }
    int escaped = 0;
    const uint8_t *end = string_end(key, stop, s->text_end, &escaped);
    *p = end ? end + 1 : NULL;
    if (!end) return 0;
    number = node_of(s, parent, key, (size_t)(end - key), escaped, s->text_end);
    if (number && !escaped) *(previous ? &NODES(s)[previous].next : &NODES(s)[parent].child) = number;
    return number;
}

/* Read a value that is no object with members, of which `p` is the first character, and return what follows it. */
INLINE const uint8_t *read_leaf(Shredder *s, const uint8_t *p, const uint8_t *stop, int *kind, uint64_t *value,
                                const uint8_t **start, size_t *size) {
    const uint8_t *end;
    int escaped = 0;
    *start = p;
    *value = 0;
    switch (*p) {
    case '"':
        *start = ++p;
        end = string_end(p, stop, s->text_end, &escaped);
        if (!end) return NULL;
        *kind = STRING;
        *value = (uint64_t)escaped;
        *size = (size_t)(end - p);
        return end + 1;
    case '[':
        *kind = ARRAY;
        end = array_end(p + 1, stop, s->text_end);
        break;
    case 't':
        *kind = BOOLEAN;
        *value = 1;
        end = stop - p >= 4 && memcmp(p, "true", 4) == 0 ? p + 4 : NULL;
        break;
    case 'f':
        *kind = BOOLEAN;
        end = stop - p >= 5 && memcmp(p, "false", 5) == 0 ? p + 5 : NULL;
        break;
    case 'n':
        *kind = NONE;
        end = stop - p >= 4 && memcmp(p, "null", 4) == 0 ? p + 4 : NULL;
        break;
    default:
        end = read_number(s, p, s->text_end, kind, value);
    }
    *size = end ? (size_t)(end - p) : 0;
    return end;
}

/* Read what follows a value: commas lead to the next key, of which `*p` is then the first character; braces close
 * objects. Return whether there is a key; at the end of the event `*p` is NULL where the line has more than the event. */
INLINE int next_key(Shredder *s, const uint8_t **at, const uint8_t *stop, uint32_t *node, uint32_t *previous, int *depth) {
    const uint8_t *p = *at;
    for (;;) {
        p = skip_space(p);
        if (*p == ',') {
            p = skip_space(p + 1);
            *at = *p == '"' ? p + 1 : NULL;
            return *p == '"';
        }
        if (*p != '}') break;
        p++;
        if (*depth == 0) {
            *at = skip_space(p) == stop ? p : NULL;
            return 0;
        }
        NODES(s)[*node].last = (uint32_t)s->record_count;
        *previous = *node;
        *node = s->stack[--*depth];
    }
    *at = NULL;
    return 0;
}

/* Read the event between `p` and the newline at `stop`. */
INLINE int read_event(Shredder *s, const uint8_t *p, const uint8_t *stop, uint32_t row) {
    uint32_t node = 0, previous = 0; /* the object, and its member before */
    int depth = 0, kind;
    uint64_t value;
    const uint8_t *start;
    size_t size;
    p = skip_space(p);
    if (*p != '{') return ROW_REFUSED;
    p = skip_space(p + 1);
    if (*p == '}') return skip_space(p + 1) == stop ? ROW_READ : ROW_REFUSED;
    if (*p++ != '"') return ROW_REFUSED;
    for (;;) {
        uint32_t member = read_key(s, &p, stop, node, previous);
        if (UNLIKELY(!member)) return p ? ROW_NO_MEMORY : ROW_REFUSED;
        p = skip_space(p);
        if (UNLIKELY(*p != ':')) return ROW_REFUSED;
        p = skip_space(p + 1);
        Node *at = &NODES(s)[member];
        begin_value(s, at);
        if (*p == '{') {
            start = p;
            p = skip_space(p + 1);
            if (*p == '"') {
                if (UNLIKELY(depth == MAX_DEPTH)) return ROW_REFUSED;
                s->stack[depth++] = node;
                node = member;
                previous = 0;
                p++;
                continue;
            }
            if (*p++ != '}') return ROW_REFUSED;
            kind = MAP;
            value = 0;
            size = 2;
        } else {
            p = read_leaf(s, p, stop, &kind, &value, &start, &size);
            if (UNLIKELY(!p)) return ROW_REFUSED;
        }
        if (UNLIKELY(!add_record(s, row, at, kind, start, size, value))) return ROW_NO_MEMORY;
        previous = member;
        if (!next_key(s, &p, stop, &node, &previous, &depth)) return p ? ROW_READ : ROW_REFUSED;
    }
}

/* Forget what was read of a line. */
static void undo(Shredder *s, size_t first, uint64_t wide) {
    for (size_t i = first; i < s->record_count; i++) drop(s, &s->records[i]);
    s->record_count = first;
    s->wide = wide;
}

/* Read the line that ends at `stop`; it is refused where the columns of it alone could be too large. */
static int read_line(Shredder *s, const uint8_t *p, const uint8_t *stop, int *is_too_much) {
    size_t first = s->record_count;
    uint64_t wide = s->wide;
    s->line++;
    s->has_aliases = 0;
    int status = read_event(s, p, stop, (uint32_t)s->result.rows);
    if (status == ROW_READ) {
        /* in the rest a value needs its path, `"":,` and at most two quotation marks; a row needs two braces */
        uint64_t paths = s->wide - wide, size = (uint64_t)(stop - p);
        uint64_t most = s->wide + 6 * (uint64_t)s->record_count + 2 * (uint64_t)s->result.rows + 2;
        *is_too_much = most + (uint64_t)(stop - s->text) > MAX_OUTPUT;
        if (!*is_too_much && (paths <= MIN_PATH_BYTES || paths <= MAX_PATH_SHARE * size)) {
            if (UNLIKELY(s->has_aliases)) drop_aliases(s, first);
            return ROW_READ;
        }
        status = ROW_REFUSED;
    }
    undo(s, first, wide);
    return status;
}

static int is_full(const Shredder *s) {
    return s->tables.nodes.count > s->max_nodes || s->tables.arena.count > s->max_arena;
}

static int read_lines(Shredder *s, int64_t most) {
    const uint8_t *p = s->text;
    Result *result = &s->result;
    while (result->rows < most && p < s->text_end) {
        if (result->rows && is_full(s)) break;
        const uint8_t *stop = memchr(p, '\n', (size_t)(s->text_end - p));
        int is_too_much = 0, status = read_line(s, p, stop, &is_too_much);
        if (status == ROW_NO_MEMORY) return NO_MEMORY;
        if (is_too_much && result->rows) break;
        if (status == ROW_REFUSED && !push(&s->refused, (uint32_t)result->rows)) return NO_MEMORY;
        result->rows++;
        p = stop + 1;
    }
    result->bytes = p - s->text;
    return OK;
}

/* ---- what is forgotten when the tables are full: nodes, and paths without a column ---- */

static void free_tables(Tables *tables) {
    void *all[] = {tables->nodes.items, tables->paths.items, tables->slots.items,
                   tables->arena.items, tables->node_table.entries, tables->path_table.entries};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

/* Make tables with room for so many nodes that hold nothing but number 0, which stands for none; return 0 without memory. */
static int make_tables(Tables *tables, size_t room) {
    *tables = (Tables){.nodes.size = sizeof(Node), .paths.size = sizeof(Path), .slots.size = sizeof(Slot), .arena.size = 1};
    Vector *vectors[] = {&tables->nodes, &tables->paths, &tables->slots};
    for (int i = 0; i < 3; i++) {
        if (!reserve(vectors[i], room + 1)) return 0;
        memset(vectors[i]->items, 0, vectors[i]->size);
        vectors[i]->count = 1;
    }
    return reserve(&tables->arena, PAD) && rehash(&tables->nodes, room, &tables->node_table) &&
           rehash(&tables->paths, room, &tables->path_table);
}

/* Return the node that an old one becomes, as do the objects around it; 0 without memory. */
static uint32_t move_node(Shredder *s, const Tables *old, uint32_t *moved, uint32_t number) {
    uint32_t chain[MAX_DEPTH + 1], depth = 0;
    for (; number && !moved[number]; number = ((Node *)old->nodes.items)[number].parent)
        chain[depth++] = number;
    uint32_t node = moved[number];
    while (depth) {
        const Node *from = (Node *)old->nodes.items + chain[--depth];
        const uint8_t *key = (const uint8_t *)old->arena.items + from->key;
        node = node_of(s, node, key, from->key_size, 0, key + from->key_size + PAD / 2);
        if (!node) return 0;
        moved[chain[depth]] = node;
    }
    return node;
}

/* Move the slots that have a column, and while half of the tables is free, those with so many recent values. */
static int move_slots(Shredder *s, const Tables *old, uint32_t *moved, uint32_t least) {
    for (size_t i = 1; i < old->slots.count; i++) {
        Slot slot = ((Slot *)old->slots.items)[i];
        const Path *path = (Path *)old->paths.items + slot.path;
        if (slot.column != NO_COLUMN) {
            slot.path = path_of(s, path->hash);
        } else {
            if (slot.kind == NONE || slot.recent < least || 2 * s->tables.nodes.count > s->max_nodes ||
                2 * s->tables.arena.count > s->max_arena)
                continue;
            uint32_t node = move_node(s, old, moved, path->node);
            slot.path = node && (NODES(s)[node].path || find_path(s, &NODES(s)[node])) ? NODES(s)[node].path : 0;
        }
        uint32_t number = slot.path ? slot_of(s, slot.path, slot.kind) : 0;
        if (!number) return 0;
        slot.batch = 0;
        slot.next = SLOTS(s)[number].next;
        SLOTS(s)[number] = slot;
    }
    return 1;
}

/* Return the least number of recent values with which a path is kept: paths that may soon have a column have more. */
static uint32_t least_kept(const Shredder *s) {
    uint32_t most = 0;
    for (size_t i = 1; i < s->tables.slots.count; i++)
        if (SLOTS(s)[i].column == NO_COLUMN && SLOTS(s)[i].recent > most) most = SLOTS(s)[i].recent;
    return most / KEPT_SHARE > 2 ? most / KEPT_SHARE : 2;
}

static int forget(Shredder *s) {
    Tables old = s->tables;
    uint32_t least = least_kept(s), *moved = calloc(old.nodes.count, sizeof *moved);
    int is_moved = moved && make_tables(&s->tables, s->max_nodes) && move_slots(s, &old, moved, least);
    free(moved);
    if (!is_moved) {
        if (moved) free_tables(&s->tables);
        s->tables = old;
        return 0;
    }
    free_tables(&old);
    s->untold.count = s->touched.count = 0;
    return 1;
}

/* ---- pass two ---- */

static int64_t take_room(Result *result, uint64_t size) {
    int64_t at = result->total;
    result->total += (int64_t)((size + PAD + 63) / 64 * 64);
    return at;
}

static Column lay_out(Result *result, int64_t number, int kind, uint64_t count, uint64_t bytes) {
    uint64_t rows = (uint64_t)result->rows;
    Column column = {.number = number, .kind = kind, .nulls = (int64_t)(rows - count), .validity = -1, .offsets = -1};
    if (count < rows || number < 0) column.validity = take_room(result, (rows + 7) / 8);
    if (kind == STRING || kind == ARRAY) column.offsets = take_room(result, 4 * (rows + 1));
    else bytes = kind == BOOLEAN ? (rows + 7) / 8 : 8 * rows;
    column.data = take_room(result, bytes);
    return column;
}

/* Lay out the columns that have values, and the rest as the last one, if any row has it. */
static int plan(Shredder *s) {
    Result *result = &s->result;
    uint64_t in_rest = 0, rest_size = 2 * (uint64_t)result->rows;
    s->outputs.count = s->untold.count = 0;
    result->total = 0;
    if (!reserve(&s->outputs, s->touched.count + 1)) return 0;
    Column *columns = s->outputs.items;
    for (size_t i = 0; i < s->touched.count; i++) {
        uint32_t number = ((uint32_t *)s->touched.items)[i];
        Slot *slot = &SLOTS(s)[number];
        slot->output = TO_NOWHERE;
        if (!slot->count || slot->kind == NONE) continue;
        if (slot->column != NO_COLUMN) {
            slot->output = (int32_t)s->outputs.count;
            columns[s->outputs.count++] = lay_out(result, slot->column, slot->kind, slot->count, slot->bytes);
            continue;
        }
        slot->output = TO_REST;
        if (!slot->told && !push(&s->untold, number)) return 0;
        in_rest += slot->count;
        rest_size += slot->bytes + (6 + (uint64_t)NODES(s)[PATHS(s)[slot->path].node].json_size) * slot->count;
    }
    if (in_rest) /* in how many rows is not known yet */
        columns[s->outputs.count++] = lay_out(result, NO_COLUMN, STRING, 0, rest_size);
    return 1;
}

INLINE void fill_offsets(uint8_t *out, Column *column, int64_t row) {
    int32_t *offsets = (int32_t *)(out + column->offsets);
    while (column->next <= row) offsets[column->next++] = (int32_t)column->size;
}

INLINE void fill_words(uint8_t *out, Column *column, int64_t row) {
    uint64_t *words = (uint64_t *)(out + column->data);
    while (column->next < row) words[column->next++] = 0;
}

INLINE void set_bit(uint8_t *bits, uint32_t row) {
    bits[row >> 3] |= (uint8_t)(1u << (row & 7));
}

/* Write a node's path as a JSON string without quotation marks, and return what follows it. */
static uint8_t *write_path(const Shredder *s, uint8_t *to, uint32_t number) {
    uint8_t *end = to + NODES(s)[number].json_size;
    while (number) {
        const Node *node = &NODES(s)[number];
        uint8_t *begin = node->parent ? to + NODES(s)[node->parent].json_size + 1 : to;
        if (node->parent) begin[-1] = '.';
        if (node->flags & ESCAPED) write_escaped(begin, ARENA(s) + node->key, node->key_size);
        else memcpy(begin, ARENA(s) + node->key, node->key_size);
        number = node->parent;
    }
    return end;
}

/* Add a value to the row's rest, whose closing brace is still to come. */
static void add_to_rest(const Shredder *s, uint8_t *out, Column *rest, const Record *record) {
    const Slot *slot = &SLOTS(s)[record->slot];
    uint8_t *data = out + rest->data, *to = data + rest->size;
    if (rest->next <= record->row) {
        if (rest->size) *to++ = '}';
        rest->size = to - data;
        fill_offsets(out, rest, record->row);
        set_bit(out + rest->validity, record->row);
        rest->nulls--;
        *to++ = '{';
    } else {
        *to++ = ',';
    }
    *to++ = '"';
    to = write_path(s, to, PATHS(s)[slot->path].node);
    *to++ = '"';
    *to++ = ':';
    if (slot->kind == MAP) {
        *to++ = '{';
        *to++ = '}';
    } else {
        unsigned marks = slot->kind == STRING;
        size_t size = record->size + 2 * (size_t)marks;
        copy_wide(to, s->text + record->start - marks, size, s->text_end);
        to += size;
    }
    rest->size = to - data;
}

INLINE void add_to_column(const Shredder *s, uint8_t *out, Column *column, const Record *record) {
    uint8_t *data = out + column->data;
    uint32_t row = record->row;
    if (column->validity >= 0) set_bit(out + column->validity, row);
    switch (column->kind) {
    case BOOLEAN:
        data[row >> 3] |= (uint8_t)(record->value << (row & 7));
        return;
    case INTEGER:
    case FLOAT:
        fill_words(out, column, row);
        ((uint64_t *)data)[row] = record->value;
        column->next = (int64_t)row + 1;
        return;
    default:
        fill_offsets(out, column, row);
        data += column->size;
        if (column->kind == STRING && record->value) {
            column->size += (int64_t)unescape(data, s->text + record->start, record->size, s->text_end);
        } else {
            copy_wide(data, s->text + record->start, record->size, s->text_end);
            column->size += record->size;
        }
    }
}

static void begin_column(uint8_t *out, Column *column, size_t rows) {
    column->next = column->size = 0;
    if (column->validity >= 0) memset(out + column->validity, 0, (rows + 7) / 8);
    if (column->kind == BOOLEAN) memset(out + column->data, 0, (rows + 7) / 8);
}

static void end_column(uint8_t *out, Column *column, int64_t rows) {
    if (column->offsets >= 0) {
        if (column->number == NO_COLUMN) out[column->data + column->size++] = '}';
        fill_offsets(out, column, rows);
    } else if (column->kind == BOOLEAN) {
        column->size = (rows + 7) / 8;
    } else {
        fill_words(out, column, rows);
        column->size = 8 * rows;
    }
}

static void fill(Shredder *s, uint8_t *out) {
    Column *columns = s->outputs.items, *rest = columns + s->outputs.count - 1;
    for (size_t i = 0; i < s->outputs.count; i++) begin_column(out, &columns[i], (size_t)s->result.rows);
    for (size_t i = 0; i < s->record_count; i++) {
        const Record *record = &s->records[i];
        if (UNLIKELY(!record->slot)) {
            i += record->size - 1;
            continue;
        }
        int32_t output = SLOTS(s)[record->slot].output;
        if (output >= 0) add_to_column(s, out, &columns[output], record);
        else if (output == TO_REST) add_to_rest(s, out, rest, record);
    }
    for (size_t i = 0; i < s->outputs.count; i++) end_column(out, &columns[i], s->result.rows);
}

/* ---- what the binding calls ---- */

static int publish(Shredder *s, int status) {
    s->result.refused = s->refused.items;
    s->result.refused_count = (int64_t)s->refused.count;
    s->result.columns = s->outputs.items;
    s->result.column_count = (int64_t)s->outputs.count;
    s->result.slots = s->tables.slots.items;
    s->result.slot_count = (int64_t)s->tables.slots.count;
    s->result.untold = s->untold.items;
    s->result.untold_count = (int64_t)s->untold.count;
    return status;
}

EXPORT void tailrace_shred_free(Shredder *s) {
    if (!s) return;
    free_tables(&s->tables);
    free(s->touched.items);
    free(s->refused.items);
    free(s->outputs.items);
    free(s->untold.items);
    free_records(s);
    free(s);
}

/* Return a shredder, NULL without memory. `random`: three numbers; `powers` must live as long as it does. */
EXPORT Shredder *tailrace_shred_new(const uint64_t *random, const uint64_t *powers, uint32_t max_nodes, uint64_t max_arena) {
    Shredder *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->touched.size = s->refused.size = s->untold.size = sizeof(uint32_t);
    s->outputs.size = sizeof(Column);
    s->powers = powers;
    s->base = random[0] % (PRIME - 512) + 512;
    for (int i = 0; i < 2; i++) {
        uint64_t base = random[i + 1] % (PRIME - 512) + 512;
        for (int power = 0; power < 4; power++)
            s->path_bases[i][power] = power ? reduced((u128)s->path_bases[i][power - 1] * base) : base;
    }
    s->max_nodes = max_nodes;
    s->max_arena = max_arena;
    if (!make_tables(&s->tables, 0)) {
        free_tables(&s->tables);
        free(s);
        return NULL;
    }
    return s;
}

/* Read at most so many lines of a text that ends with a newline; count their values by slot. */
EXPORT int tailrace_shred_read(Shredder *s, const uint8_t *text, uint64_t size, uint32_t most) {
    if (size && text[size - 1] != '\n') return INVALID;
    Result *result = &s->result;
    result->rows = result->bytes = 0;
    s->touched.count = s->refused.count = s->outputs.count = s->record_count = s->text_size = 0;
    s->wide = 0;
    s->batch++;
    s->since_before = s->since;
    s->text = text;
    s->text_end = text + size;
    if (is_full(s) && !forget(s)) return NO_MEMORY;
    if ((!s->records && !grow_records(s, size / BYTES_PER_RECORD + 64)) || read_lines(s, most) != OK) {
        s->touched.count = s->refused.count = 0;
        free_records(s);
        result->rows = 0;
        return publish(s, NO_MEMORY);
    }
    s->text_size = size;
    for (size_t i = 0; i < s->touched.count; i++) {
        Slot *slot = &SLOTS(s)[((uint32_t *)s->touched.items)[i]];
        slot->recent = slot->recent > UINT32_MAX - slot->count ? UINT32_MAX : slot->recent + slot->count;
    }
    return publish(s, OK);
}

/* Lay out the columns of what was read. */
EXPORT int tailrace_shred_plan(Shredder *s) {
    return publish(s, plan(s) ? OK : NO_MEMORY);
}

/* Write the columns as they are laid out; the text is the one that was read. */
EXPORT int tailrace_shred_fill(Shredder *s, const uint8_t *text, uint64_t size, uint8_t *out, uint64_t capacity) {
    if (size != s->text_size || capacity < (uint64_t)s->result.total) return INVALID;
    s->text = text;
    s->text_end = text + size;
    fill(s, out);
    free_records(s);
    s->touched.count = s->text_size = 0;
    return OK;
}

/* Give a path and a type the column of that number from now on. */
EXPORT int tailrace_shred_place(Shredder *s, const uint8_t *path, uint64_t size, uint32_t kind, int32_t column) {
    if (kind >= KINDS || column < 0) return INVALID;
    uint64_t hash[2] = {0, 0};
    extend_path_hash(s, hash, path, size);
    hash[0] = place_of(s, hash);
    uint32_t number = path_of(s, hash), slot = number ? slot_of(s, number, (int)kind) : 0;
    if (!slot) return NO_MEMORY;
    SLOTS(s)[slot].column = column;
    return publish(s, OK);
}

/* Write the nesting of a path, key by key from the innermost, each behind its size in four bytes; return its size. */
EXPORT uint64_t tailrace_shred_keys(const Shredder *s, uint32_t slot, uint8_t *to, uint64_t capacity) {
    uint64_t size = 0;
    if (slot >= s->tables.slots.count) return 0;
    for (uint32_t number = PATHS(s)[SLOTS(s)[slot].path].node; number; number = NODES(s)[number].parent) {
        const Node *node = &NODES(s)[number];
        if (size + 4 + node->key_size <= capacity) {
            memcpy(to + size, &node->key_size, 4);
            memcpy(to + size + 4, ARENA(s) + node->key, node->key_size);
        }
        size += 4 + (uint64_t)node->key_size;
    }
    return size;
}
