/* Scan: one pass over a request body of JSON events.
 *
 * A body that is accepted is strict JSON (RFC 8259): one array of objects, or objects with or without white space
 * between them. Each event is told by where it begins and ends, by what in it needs a closer look, and by where the
 * values of the top-level fields stand that were asked for. Nothing is changed, nothing is allocated, and no byte
 * outside of the buffers that are passed is touched: each read is behind a comparison with the end.
 *
 * scanner.py knows the layouts and the numbers below.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "native.h"
#include "text.h"

enum { MAX_DEPTH = 1024, MAX_NAMES = 64, MAX_NAME_BYTES = 255 };
enum { NO_COLUMN = 255, REFUSED = -1, BAD_CALL = -2 };

/* What is told of an event, and of all. */
enum {
    IS_RESERVED = 1,      /* a top-level name of it is reserved */
    IS_DEEP = 2,          /* deeper than max_depth */
    HAS_LONG_NAME = 4,    /* as written longer than max_name_bytes */
    HAS_LONG_STRING = 8,  /* as written longer than max_string_bytes */
    HAS_SURROGATE = 16,   /* an escape that is half a pair */
    IS_NOT_UTF8 = 32,
    IS_LARGE = 64,        /* as written longer than max_event_bytes */
    SPANS_LINES = 128,    /* a newline stands in it */
};
enum { ROW_START, ROW_END, ROW_FLAGS, ROW_VALUES }; /* of an event; then start and end of the value of each column */
enum { HEAD_FLAGS, HEAD_LINE_BYTES, HEAD_IS_LINES, HEAD_CELLS }; /* before the rows, of all events */

/* What to look for: four limits, then the names. Those are sorted by length, so that only those of one length are
 * compared: `first[n]` is the first of at least n bytes. */
typedef struct {
    int64_t max_depth, max_name_bytes, max_string_bytes, max_event_bytes;
    const uint8_t *text[MAX_NAMES];
    uint8_t column[MAX_NAMES];
    uint8_t first[MAX_NAME_BYTES + 2];
    int64_t columns;
} Rules;

typedef struct {
    const uint8_t *body, *end;
    const Rules *rules;
    int64_t *row;    /* of the event that is read */
    int64_t flags;   /* of it */
    int has_escapes; /* the string read last */
    uint8_t closers[MAX_DEPTH];
} Scan;

/* White space. */

static inline const uint8_t *skip_space(Scan *s, const uint8_t *p) {
    for (; p < s->end && *p <= ' '; p++) {
        if (*p == '\n')
            s->flags |= SPANS_LINES;
        else if (*p != ' ' && *p != '\t' && *p != '\r')
            break;
    }
    return p;
}

/* Strings. */

/* Return the place behind the escape whose backslash is at p; NULL where it is none. */
static const uint8_t *escape_end(Scan *s, const uint8_t *p) {
    switch (byte_at(p + 1, s->end)) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return p + 2;
    case 'u':
        break;
    default:
        return NULL;
    }
    const int32_t unit = escaped_unit(p, s->end);
    if (unit < 0) return NULL;
    if (is_high(unit) && is_low(escaped_unit(p + 6, s->end))) return p + 12;
    if (is_high(unit) || is_low(unit)) s->flags |= HAS_SURROGATE;
    return p + 6;
}

/* Return the place of the quote mark that ends the string whose text begins at p; NULL where no such string is. */
static inline const uint8_t *string_end(Scan *s, const uint8_t *p) {
    const uint8_t *text = p;
    uint32_t wide = 0;
    s->has_escapes = 0;
    for (;;) {
        p = plain_end(p, s->end, &wide);
        if (p == s->end || *p < 0x20) return NULL;
        if (*p == '"') break;
        s->has_escapes = 1;
        p = escape_end(s, p);
        if (!p) return NULL;
    }
    if (wide && !is_utf8(text, p)) s->flags |= IS_NOT_UTF8;
    return p;
}

/* Numbers and literals. */

static inline const uint8_t *digits_end(const uint8_t *p, const uint8_t *end) {
    while (p < end && is_digit(*p)) p++;
    return p;
}

/* Return the place behind the number at p; NULL where none is. */
static inline const uint8_t *number_end(const uint8_t *p, const uint8_t *end) {
    if (byte_at(p, end) == '-') p++;
    if (!is_digit(byte_at(p, end))) return NULL;
    p = *p == '0' ? p + 1 : digits_end(p, end);
    if (byte_at(p, end) == '.') {
        if (!is_digit(byte_at(p + 1, end))) return NULL;
        p = digits_end(p + 1, end);
    }
    if ((byte_at(p, end) | 0x20) == 'e') {
        p++;
        if (byte_at(p, end) == '+' || byte_at(p, end) == '-') p++;
        if (!is_digit(byte_at(p, end))) return NULL;
        p = digits_end(p, end);
    }
    return p;
}

static inline const uint8_t *literal_end(const uint8_t *p, const uint8_t *end, const char *literal, ptrdiff_t bytes) {
    return end - p >= bytes && memcmp(p, literal, (size_t)bytes) == 0 ? p + bytes : NULL;
}

static inline const uint8_t *scalar_end(Scan *s, const uint8_t *p) {
    switch (*p) {
    case '"': {
        const uint8_t *quote = string_end(s, p + 1);
        if (!quote) return NULL;
        if (quote - p - 1 > s->rules->max_string_bytes) s->flags |= HAS_LONG_STRING;
        return quote + 1;
    }
    case 't':
        return literal_end(p, s->end, "true", 4);
    case 'f':
        return literal_end(p, s->end, "false", 5);
    case 'n':
        return literal_end(p, s->end, "null", 4);
    default:
        return number_end(p, s->end);
    }
}

/* Names. */

/* Write what a name with escapes means; return its bytes, -1 where it is longer than any that is looked for. */
static int64_t unescape(const uint8_t *p, const uint8_t *end, uint8_t out[MAX_NAME_BYTES + 4]) {
    int64_t bytes = 0;
    while (p < end && bytes <= MAX_NAME_BYTES) {
        if (*p == '\\')
            bytes = write_utf8(out + bytes, escaped_character(&p, end)) - out;
        else
            out[bytes++] = *p++;
    }
    return bytes <= MAX_NAME_BYTES ? bytes : -1;
}

/* Note the top-level name from p to `end`; return where its value is to be noted, NULL where it was not asked for. */
static inline int64_t *value_of(Scan *s, const uint8_t *p, const uint8_t *end) {
    const Rules *rules = s->rules;
    uint8_t unescaped[MAX_NAME_BYTES + 4];
    int64_t bytes = end - p;
    if (s->has_escapes) {
        bytes = unescape(p, end, unescaped);
        p = unescaped;
    }
    if (bytes < 0 || bytes > MAX_NAME_BYTES) return NULL;
    int64_t *value = NULL;
    for (int i = rules->first[bytes]; i < rules->first[bytes + 1]; i++) {
        const uint8_t *name = rules->text[i];
        if (bytes && (name[bytes - 1] != p[bytes - 1] || memcmp(name, p, (size_t)bytes) != 0)) continue;
        if (rules->column[i] == NO_COLUMN)
            s->flags |= IS_RESERVED;
        else
            value = s->row + ROW_VALUES + 2 * rules->column[i];
    }
    return value;
}

/* Events. */

/* Return the place behind the name whose quote mark is at p, and its colon; NULL where none is. */
static inline const uint8_t *name_end(Scan *s, const uint8_t *p, int64_t depth, int64_t **value) {
    p = skip_space(s, p);
    if (byte_at(p, s->end) != '"') return NULL;
    const uint8_t *quote = string_end(s, p + 1);
    if (!quote) return NULL;
    if (quote - p - 1 > s->rules->max_name_bytes) s->flags |= HAS_LONG_NAME;
    if (depth == 1) *value = value_of(s, p + 1, quote);
    p = skip_space(s, quote + 1);
    return byte_at(p, s->end) == ':' ? p + 1 : NULL;
}

/* Return the place behind the object whose brace is at p; NULL where it is no JSON, or deeper than MAX_DEPTH. */
static const uint8_t *object_end(Scan *s, const uint8_t *p) {
    int64_t depth = 0;
    int64_t *value = NULL; /* where that of the top-level member is to be noted */
    int c;
at_value:
    p = skip_space(s, p);
    if (depth == 1 && value) value[0] = p - s->body;
    c = byte_at(p, s->end);
    if (c == '{' || c == '[') {
        const int closer = c + 2; /* in ASCII */
        if (depth == MAX_DEPTH) return NULL;
        s->closers[depth++] = (uint8_t)closer;
        if (depth > s->rules->max_depth) s->flags |= IS_DEEP;
        p = skip_space(s, p + 1);
        if (byte_at(p, s->end) == closer) goto at_closer;
        if (c == '[') goto at_value;
        goto at_name;
    }
    if (p == s->end || !(p = scalar_end(s, p))) return NULL;
behind_value:
    if (depth == 1 && value) {
        value[1] = p - s->body;
        value = NULL;
    }
    p = skip_space(s, p);
    c = byte_at(p, s->end);
    if (c == ',') {
        p++;
        if (s->closers[depth - 1] == ']') goto at_value;
        goto at_name;
    }
    if (c != s->closers[depth - 1]) return NULL;
at_closer:
    p++;
    if (--depth) goto behind_value;
    return p;
at_name:
    p = name_end(s, p, depth, &value);
    if (!p) return NULL;
    goto at_value;
}

/* The body. */

/* Read rules: four limits, then names, the shortest first, each after one byte of its length and one of its column.
 * Return whether they are that. */
static int read_rules(Rules *rules, const uint8_t *p, int64_t bytes) {
    int64_t limits[4];
    const uint8_t *end = p + bytes;
    if (bytes < (int64_t)sizeof limits) return 0;
    memcpy(limits, p, sizeof limits);
    rules->max_depth = limits[0];
    rules->max_name_bytes = limits[1];
    rules->max_string_bytes = limits[2];
    rules->max_event_bytes = limits[3];
    rules->columns = 0;
    int count = 0;
    size_t lengths = 0; /* for which `first` is known */
    for (p += sizeof limits; p < end; p += p[0] + 2) {
        if (count == MAX_NAMES || end - p < 2 || end - p - 2 < p[0] || p[0] + 1u < lengths) return 0;
        if (p[1] != NO_COLUMN && p[1] >= MAX_NAMES) return 0;
        for (; lengths <= p[0]; lengths++) rules->first[lengths] = (uint8_t)count;
        rules->text[count] = p + 2;
        rules->column[count++] = p[1];
        if (p[1] != NO_COLUMN && p[1] >= rules->columns) rules->columns = p[1] + 1;
    }
    memset(rules->first + lengths, count, sizeof rules->first - lengths);
    return 1;
}

/* Read events up to the end of the body or, of an array, behind its bracket; return how many, REFUSED where one is
 * none. As many rows are written as there is room for. */
static int64_t read_events(Scan *s, const uint8_t *p, int in_array, int64_t *head, int64_t room) {
    const int64_t width = ROW_VALUES + 2 * s->rules->columns;
    const uint8_t *last = NULL; /* end of the event before */
    int64_t unused[ROW_VALUES + 2 * MAX_NAMES];
    int64_t count = 0;
    for (;; count++) {
        p = skip_space(s, p);
        if (!in_array && p == s->end) return count;
        if (byte_at(p, s->end) != '{') return REFUSED;
        s->flags = 0;
        s->row = count < room ? head + HEAD_CELLS + count * width : unused;
        memset(s->row, 0, (size_t)width * sizeof *s->row);
        const uint8_t *end = object_end(s, p);
        if (!end) return REFUSED;
        if (end - p > s->rules->max_event_bytes) s->flags |= IS_LARGE;
        if ((s->flags & SPANS_LINES) || (last && (p - last != 1 || *last != '\n'))) head[HEAD_IS_LINES] = 0;
        head[HEAD_FLAGS] |= s->flags;
        head[HEAD_LINE_BYTES] += end - p + 1;
        s->row[ROW_START] = p - s->body;
        s->row[ROW_END] = end - s->body;
        s->row[ROW_FLAGS] = s->flags;
        p = last = end;
        if (in_array) {
            p = skip_space(s, p);
            const int c = byte_at(p, s->end);
            if (c == ']') return skip_space(s, p + 1) == s->end ? count + 1 : REFUSED;
            if (c != ',') return REFUSED;
            p++;
        }
    }
}

/* Scan a body from `start` on; return its events, REFUSED where it is not strict JSON, BAD_CALL. `cells` gets what is
 * told of all events, then as many rows as there is room for. */
EXPORT int64_t tailrace_scan(const uint8_t *body, int64_t bytes, int64_t start, int64_t is_array, const uint8_t *rules,
                             int64_t rules_bytes, int64_t *cells, int64_t cell_count) {
    Rules read;
    Scan s;
    if (!body || bytes < 0 || start < 0 || start > bytes || !rules || !cells || cell_count < HEAD_CELLS)
        return BAD_CALL;
    if (!read_rules(&read, rules, rules_bytes)) return BAD_CALL;
    s.body = body;
    s.end = body + bytes;
    s.rules = &read;
    s.flags = 0;
    memset(cells, 0, HEAD_CELLS * sizeof *cells);
    cells[HEAD_IS_LINES] = 1;
    const int64_t room = (cell_count - HEAD_CELLS) / (ROW_VALUES + 2 * read.columns);
    const uint8_t *p = body + start;
    if (is_array) {
        p = skip_space(&s, p);
        if (byte_at(p, s.end) != '[') return REFUSED;
        p = skip_space(&s, p + 1);
        if (byte_at(p, s.end) == ']') return skip_space(&s, p + 1) == s.end ? 0 : REFUSED;
    }
    return read_events(&s, p, is_array != 0, cells, room);
}

/* Lines. */

/* Copy JSON without the white space outside of its strings; return the end of the copy, which is no longer. */
static uint8_t *copy_compact(uint8_t *out, const uint8_t *p, const uint8_t *end) {
    int is_text = 0;
    while (p < end) {
        const uint8_t c = *p++;
        if (c == '"')
            is_text = !is_text;
        else if (c <= ' ' && !is_text)
            continue;
        *out++ = c;
        if (c == '\\' && p < end) *out++ = *p++;
    }
    return out;
}

/* Write events as NDJSON, those that span lines without their white space; `cells` are those of `tailrace_scan`.
 * Return the bytes written, BAD_CALL where there are no such rows or no such room. */
EXPORT int64_t tailrace_scan_lines(const uint8_t *body, int64_t bytes, const int64_t *cells, int64_t cell_count,
                                   int64_t width, int64_t count, uint8_t *lines, int64_t lines_bytes) {
    uint8_t *out = lines;
    if (!body || !cells || !lines || width < ROW_VALUES || count < 0 || cell_count < HEAD_CELLS ||
        count > (cell_count - HEAD_CELLS) / width)
        return BAD_CALL;
    for (const int64_t *row = cells + HEAD_CELLS; count > 0; count--, row += width) {
        const int64_t start = row[ROW_START], end = row[ROW_END];
        if (start < 0 || start > end || end > bytes || end - start >= lines_bytes - (out - lines))
            return BAD_CALL;
        if (row[ROW_FLAGS] & SPANS_LINES) {
            out = copy_compact(out, body + start, body + end);
        } else {
            memcpy(out, body + start, (size_t)(end - start));
            out += end - start;
        }
        *out++ = '\n';
    }
    return out - lines;
}

static inline const uint8_t *line_space_end(const uint8_t *p, const uint8_t *stop) {
    while (p < stop && (*p == ' ' || *p == '\t' || *p == '\r')) p++;
    return p;
}

/* Write lines, each an object, with the members of `prefix` as their first: it is an object without its last brace, and
 * not empty. Return the bytes written, BAD_CALL where there is no room. */
EXPORT int64_t tailrace_scan_prefixed(const uint8_t *lines, int64_t bytes, const uint8_t *prefix, int64_t prefix_bytes,
                                      uint8_t *out, int64_t out_bytes) {
    const uint8_t *end = lines + bytes;
    const uint8_t *begin = out;
    for (const uint8_t *p = lines; p < end;) {
        const uint8_t *newline = memchr(p, '\n', (size_t)(end - p)), *stop = newline ? newline : end;
        p = line_space_end(p, stop);
        p = line_space_end(p < stop ? p + 1 : p, stop); /* behind the brace */
        if (out_bytes - (out - begin) - prefix_bytes - (stop - p) < 2) return BAD_CALL;
        memcpy(out, prefix, (size_t)prefix_bytes);
        out += prefix_bytes;
        if (byte_at(p, stop) != '}') *out++ = ',';
        memcpy(out, p, (size_t)(stop - p));
        out += stop - p;
        *out++ = '\n';
        p = newline ? newline + 1 : end;
    }
    return out - begin;
}
