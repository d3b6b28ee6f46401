/* What otlp.c is written in: messages of protobuf read field by field, and JSON written, within their bounds.
 *
 * A failure stays in `status`; from then on nothing is read, and what is written does not matter.
 */

#ifndef TAILRACE_OTLP_WIRE_H
#define TAILRACE_OTLP_WIRE_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"
#include "text.h"

enum { DONE, ODD, TOO_MUCH, NO_MEMORY, BAD_CALL }; /* status */
enum { VARINT, FIXED64, BYTES, FIXED32 = 5, NO_WIRE = 8 };
enum { UNKNOWN, U32, ENUM, BOOL, F64, F32, ONE, MANY }; /* kinds of fields; ONE and MANY are bytes, texts or messages */
enum { FIELDS = 17, LENGTHS = 64, FIRST_CAPACITY = 4096 };

typedef struct {
    const uint8_t *p, *end;
} Slice;

typedef struct {
    uint8_t *bytes;
    size_t size, capacity;
} Buffer;

typedef struct { /* a field as it is on the wire */
    uint32_t number, wire;
    uint64_t value;
    Slice slice;
    const uint8_t *start;
} Field;

typedef struct { /* of a field; of one that is not there p is NULL */
    uint64_t number;
    Slice slice; /* of MANY from the first of them to the end of the last */
} Value;

typedef struct { /* events, with a comma after each, or what was declined, with the fields that it has from around it */
    int64_t kind, count;
    int64_t end; /* in the text, where that of the next part begins */
    int64_t raw_start, raw_end, dataset_start, dataset_end; /* in the body */
} Part;

typedef struct {
    uint8_t *text;
    Part *parts;
    int64_t bytes, count;
} Result;

typedef struct { /* names of `length` bytes, sorted, a byte of what each is behind it */
    int64_t offset, count;
} Names;

typedef struct {
    int status;
    size_t max_bytes;
    int64_t signal, max_events, max_groups, events, groups;
    const uint8_t *body, *names;
    const uint64_t *powers;
    Names lengths[LENGTHS];
    Slice dataset;
    Buffer *to; /* one of those below */
    Buffer out, custom, resource, scope, metric;
    Part *parts;
    size_t part_count, part_capacity;
} Otlp;

static void fail(Otlp *s, int status) {
    if (!s->status) s->status = status;
}

/* Writing. */

static int grow(Otlp *s, size_t more) {
    Buffer *to = s->to;
    if (s->status) return 0;
    if (more >= s->max_bytes || to->size >= s->max_bytes - more) return fail(s, TOO_MUCH), 0;
    size_t capacity = to->capacity ? to->capacity : FIRST_CAPACITY;
    while (capacity - to->size <= more) capacity *= 2;
    if (capacity > s->max_bytes) capacity = s->max_bytes;
    uint8_t *bytes = realloc(to->bytes, capacity);
    if (!bytes) return fail(s, NO_MEMORY), 0;
    to->bytes = bytes;
    to->capacity = capacity;
    return 1;
}

static inline void put(Otlp *s, const void *bytes, size_t size) {
    Buffer *to = s->to;
    if (to->capacity - to->size <= size && !grow(s, size)) return;
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

#define PUT(s, literal) put(s, literal, sizeof(literal) - 1)

static inline void put_slice(Otlp *s, Slice slice) {
    if (slice.p != slice.end) put(s, slice.p, (size_t)(slice.end - slice.p));
}

static void put_buffer(Otlp *s, const Buffer *from) {
    if (from->size) put(s, from->bytes, from->size);
}

static void put_escape(Otlp *s, uint8_t c) {
    static const char SHORT[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    uint8_t escape[] = {'\\', c, '0', '0', (uint8_t)('0' + (c >> 4)), (uint8_t) "0123456789abcdef"[c & 15]};
    if (c < sizeof SHORT && SHORT[c]) escape[1] = (uint8_t)SHORT[c];
    else if (c < 0x20) escape[1] = 'u';
    put(s, escape, escape[1] == 'u' ? 6 : 2);
}

static void put_text(Otlp *s, Slice text) {
    uint32_t wide = 0;
    PUT(s, "\"");
    for (const uint8_t *p = text.p; p != text.end && !s->status; p++) {
        const uint8_t *stop = plain_end(p, text.end, &wide);
        put_slice(s, (Slice){p, stop});
        if (stop == text.end) break;
        put_escape(s, *stop);
        p = stop;
    }
    if (wide && !is_utf8(text.p, text.end)) fail(s, ODD);
    PUT(s, "\"");
}

static void put_number(Otlp *s, uint64_t number) {
    uint8_t digits[20], *p = digits + sizeof digits;
    do *--p = (uint8_t)('0' + number % 10);
    while (number /= 10);
    put(s, p, (size_t)(digits + sizeof digits - p));
}

static void put_signed(Otlp *s, uint64_t number, int is_negative) {
    if (is_negative) PUT(s, "-");
    put_number(s, is_negative ? 0 - number : number);
}

static void put_double(Otlp *s, uint64_t bits) {
    uint8_t text[MAX_DOUBLE_BYTES];
    double value;
    memcpy(&value, &bits, sizeof value);
    if ((bits >> 52 & 0x7FF) == 0x7FF) fail(s, ODD);
    else put(s, text, (size_t)(tailrace_write_double(text, value, s->powers) - text));
}

static inline void put_name(Otlp *s, const char *name) {
    PUT(s, ",\"");
    put(s, name, strlen(name));
    PUT(s, "\":");
}

static inline void put_optional_number(Otlp *s, const char *name, Value value) {
    if (!value.number) return;
    put_name(s, name);
    put_number(s, value.number);
}

static inline void put_optional_text(Otlp *s, const char *name, Value value) {
    if (value.slice.p == value.slice.end) return;
    put_name(s, name);
    put_text(s, value.slice);
}

static void put_id(Otlp *s, const char *name, Value value) {
    if (value.slice.p == value.slice.end) return;
    put_name(s, name);
    PUT(s, "\"");
    for (const uint8_t *p = value.slice.p; p < value.slice.end; p++) {
        const char two[] = {"0123456789abcdef"[*p >> 4], "0123456789abcdef"[*p & 15]};
        put(s, two, sizeof two);
    }
    PUT(s, "\"");
}

static void put_enumerated(Otlp *s, const char *const *names, uint64_t count, uint64_t number) {
    if (number >= count) {
        put_number(s, number);
        return;
    }
    PUT(s, "\"");
    put(s, names[number], strlen(names[number]));
    PUT(s, "\"");
}

/* Make an object or an array of what was written from `start` on, with a comma before each member. */
static void enclose(Otlp *s, size_t start, const char *marks) {
    if (s->to->size > start) s->to->bytes[start] = (uint8_t)marks[0];
    else put(s, marks, 1);
    put(s, marks + 1, 1);
}

/* Reading. */

static uint64_t read_varint(Otlp *s, Slice *in, int most) {
    uint64_t value = 0;
    for (int i = 0; i < most && in->p < in->end; i++) {
        const uint64_t c = *in->p++;
        if (i == 9 && c > 1) break;
        value |= (c & 0x7F) << 7 * i;
        if (c < 0x80) return value;
    }
    fail(s, ODD);
    return 0;
}

/* Read the next field of a message; return whether there is one. */
static inline int read_field(Otlp *s, Slice *in, Field *f) {
    if (in->p == in->end || s->status) return 0;
    f->start = in->p;
    const uint64_t tag = *in->p < 0x80 ? *in->p++ : read_varint(s, in, 2);
    uint64_t size = 0;
    f->number = (uint32_t)(tag >> 3);
    f->wire = tag & 7;
    f->value = 0;
    switch (f->wire) {
    case VARINT: f->value = read_varint(s, in, 10); break;
    case FIXED64: size = 8; break;
    case BYTES: size = read_varint(s, in, 5); break;
    case FIXED32: size = 4; break;
    default: fail(s, ODD);
    }
    if (size > (uint64_t)(in->end - in->p)) fail(s, ODD);
    if (s->status) return 0;
    f->slice = (Slice){in->p, in->p + size};
    if (f->wire == FIXED64 || f->wire == FIXED32) memcpy(&f->value, in->p, size);
    in->p += size;
    return 1;
}

/* Read a message through. */
static void read_message(Otlp *s, Slice in, const uint8_t kinds[FIELDS], Value values[FIELDS]) {
    static const struct {
        uint32_t wire;
        uint64_t most;
    } KINDS[] = {[UNKNOWN] = {NO_WIRE, 0},        [U32] = {VARINT, UINT32_MAX},  [ENUM] = {VARINT, INT32_MAX},
                 [BOOL] = {VARINT, 1},            [F64] = {FIXED64, UINT64_MAX}, [F32] = {FIXED32, UINT32_MAX},
                 [ONE] = {BYTES, 0},              [MANY] = {BYTES, 0}};
    Field f;
    memset(values, 0, FIELDS * sizeof *values);
    while (read_field(s, &in, &f)) {
        const int kind = f.number < FIELDS ? kinds[f.number] : UNKNOWN;
        Value *value = &values[f.number < FIELDS ? f.number : 0];
        if (f.wire != KINDS[kind].wire || f.value > KINDS[kind].most || (kind != MANY && value->slice.p)) {
            fail(s, ODD);
        } else if (kind == MANY) {
            value->slice = (Slice){value->slice.p ? value->slice.p : f.start, in.p};
        } else {
            value->number = f.value;
            value->slice = f.slice;
        }
    }
}

/* Return whether there is one more of a repeated field, among others; `in` begins behind it then. */
static inline int read_next(Otlp *s, Slice *in, uint32_t number, Slice *found) {
    Field f;
    while (read_field(s, in, &f)) {
        if (f.number != number) continue;
        *found = f.slice;
        return 1;
    }
    return 0;
}

#endif
