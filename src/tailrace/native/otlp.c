/* OTLP: an export request in protobuf as events in JSON, in one pass for what SDKs and Collectors send.
 *
 * The events are those of `otlp_lines.py`, byte for byte. What is odd in a span, a log record, a point or a metric - an
 * unknown field, one that stands twice, a text that is not UTF-8, a number out of its range - makes that one a part by
 * itself, for Python to render or to refuse; what is odd around them makes a request that is declined. Every message is
 * read through first, so that its fields may stand in any order; each byte is passed twice at most. Reads are behind a
 * comparison with the end, writes behind one with the capacity. A buffer never has more than `max_bytes`.
 *
 * native/otlp.py knows the layouts and the numbers below.
 */

#include "otlp_wire.h"

enum { TRACES, LOGS, METRICS, SIGNALS };
enum { EVENTS, ITEM, METRIC };                         /* kinds of parts */
enum { CONVENTION = 1, OF_RESOURCE = 2, DATASET = 4 }; /* what a name is */
enum { MAX_DEPTH = 16, MAX_MEMBERS = 32, NS_PER_US = 1000 };

/* Values and attributes. */

typedef struct {
    Slice name, value;
} Member;

static Member read_member(Otlp *s, Slice in) {
    static const uint8_t KEY_VALUE[FIELDS] = {[1] = ONE, [2] = ONE};
    Member member = {{NULL, NULL}, {NULL, NULL}};
    Field f;
    while (read_field(s, &in, &f)) {
        Slice *part = f.number == 1 ? &member.name : &member.value;
        if (f.number >= FIELDS || !KEY_VALUE[f.number] || f.wire != BYTES || part->p) fail(s, ODD);
        else *part = f.slice;
    }
    return member;
}

static void put_value(Otlp *s, Slice in, int depth);

static void put_member(Otlp *s, Member member, int depth) {
    PUT(s, ",");
    put_text(s, member.name);
    PUT(s, ":");
    put_value(s, member.value, depth);
}

static void put_array(Otlp *s, Slice in, int depth) {
    const size_t start = s->to->size;
    Field f;
    while (read_field(s, &in, &f)) {
        if (f.number != 1 || f.wire != BYTES) fail(s, ODD);
        PUT(s, ",");
        put_value(s, f.slice, depth);
    }
    enclose(s, start, "[]");
}

/* Write a map, in which a name that stands twice would be one. */
static void put_map(Otlp *s, Slice in, int depth) {
    const size_t start = s->to->size;
    Slice names[MAX_MEMBERS];
    int count = 0;
    Field f;
    while (read_field(s, &in, &f)) {
        if (f.number != 1 || f.wire != BYTES || count == MAX_MEMBERS) return fail(s, ODD);
        const Member member = read_member(s, f.slice);
        const ptrdiff_t size = member.name.end - member.name.p;
        for (int i = 0; i < count; i++)
            if (names[i].end - names[i].p == size && (!size || !memcmp(names[i].p, member.name.p, (size_t)size)))
                fail(s, ODD);
        names[count++] = member.name;
        put_member(s, member, depth);
    }
    enclose(s, start, "{}");
}

static void put_value(Otlp *s, Slice in, int depth) {
    Field f;
    if (!read_field(s, &in, &f)) return PUT(s, "null");
    if (in.p != in.end || depth == MAX_DEPTH) return fail(s, ODD);
    switch (f.number << 3 | f.wire) {
    case 1 << 3 | BYTES: return put_text(s, f.slice);
    case 2 << 3 | VARINT:
        if (f.value > 1) fail(s, ODD);
        return f.value ? PUT(s, "true") : PUT(s, "false");
    case 3 << 3 | VARINT: return put_signed(s, f.value, (int)(f.value >> 63));
    case 4 << 3 | FIXED64: return put_double(s, f.value);
    case 5 << 3 | BYTES: return put_array(s, f.slice, depth + 1);
    case 6 << 3 | BYTES: return put_map(s, f.slice, depth + 1);
    default: fail(s, ODD);
    }
}

/* Return what a name is. */
static int kind_of(const Otlp *s, Slice name) {
    const size_t size = (size_t)(name.end - name.p);
    if (!size || size >= LENGTHS) return 0;
    const uint8_t *names = s->names + s->lengths[size].offset;
    for (int64_t low = 0, high = s->lengths[size].count; low < high;) {
        const int64_t middle = (low + high) / 2;
        const uint8_t *at = names + (size_t)middle * (size + 1);
        const int order = memcmp(name.p, at, size);
        if (!order) return at[size];
        if (order < 0) high = middle;
        else low = middle + 1;
    }
    return 0;
}

static void note_dataset(Otlp *s, Slice value) {
    Field f;
    if (!read_field(s, &value, &f)) return;
    if (f.number == 1) s->dataset = f.slice;
    else fail(s, ODD);
}

/* Write attributes: those of the conventions as fields, the others as a map. */
static void put_attributes(Otlp *s, Slice in, uint32_t number, const char *prefix, int is_resource) {
    Buffer *to = s->to;
    Slice sent;
    s->custom.size = 0;
    while (read_next(s, &in, number, &sent)) {
        const Member member = read_member(s, sent);
        const int kind = kind_of(s, member.name), is_top = is_resource && kind & OF_RESOURCE;
        if (!is_top && !(kind & CONVENTION)) {
            s->to = &s->custom;
            put_member(s, member, 0);
            s->to = to;
            if (is_resource && kind & DATASET) note_dataset(s, member.value);
            continue;
        }
        PUT(s, ",\"");
        if (!is_top) put(s, prefix, strlen(prefix)), PUT(s, ".");
        put_slice(s, member.name);
        PUT(s, "\":");
        put_value(s, member.value, 0);
    }
    if (!s->custom.size) return;
    PUT(s, ",\"");
    put(s, prefix, strlen(prefix));
    PUT(s, ".custom\":");
    s->custom.bytes[0] = '{';
    put_buffer(s, &s->custom);
    PUT(s, "}");
}

/* Write attributes as the field of a name, an object. */
static void put_object(Otlp *s, const char *name, Slice in, uint32_t number) {
    Slice sent;
    if (in.p == in.end) return;
    put_name(s, name);
    const size_t start = s->to->size;
    while (read_next(s, &in, number, &sent)) put_member(s, read_member(s, sent), 0);
    enclose(s, start, "{}");
}

/* Write the time of an event, which is kept in us; what is finer, or later, stands under its own name too. */
static void put_time(Otlp *s, const char *name, Value time) {
    if (!time.number) return;
    if (time.number <= INT64_MAX) put_optional_number(s, "_time", time);
    if (time.number > INT64_MAX || time.number % NS_PER_US) put_optional_number(s, name, time);
}

/* Spans. */

static void put_status(Otlp *s, Slice in) {
    static const uint8_t STATUS[FIELDS] = {[2] = ONE, [3] = ENUM};
    Value v[FIELDS];
    read_message(s, in, STATUS, v);
    const uint64_t code = v[3].number;
    if (code == 2) PUT(s, ",\"error\":true,\"status.code\":\"ERROR\"");
    else PUT(s, ",\"error\":false");
    if (code == 1) PUT(s, ",\"status.code\":\"OK\"");
    else if (code > 2) put_optional_number(s, "status.code", v[3]);
    put_optional_text(s, "status.message", v[2]);
}

static void put_span_event(Otlp *s, Slice in) {
    static const uint8_t EVENT[FIELDS] = {[1] = F64, [2] = ONE, [3] = MANY, [4] = U32};
    Value v[FIELDS];
    read_message(s, in, EVENT, v);
    PUT(s, ",{\"name\":");
    put_text(s, v[2].slice);
    put_optional_number(s, "timestamp", v[1]);
    put_object(s, "attributes", v[3].slice, 3);
    put_optional_number(s, "dropped_attributes_count", v[4]);
    PUT(s, "}");
}

static void put_link(Otlp *s, Slice in) {
    static const uint8_t LINK[FIELDS] = {[1] = ONE, [2] = ONE, [3] = ONE, [4] = MANY, [5] = U32, [6] = F32};
    Value v[FIELDS];
    read_message(s, in, LINK, v);
    PUT(s, ",");
    const size_t start = s->to->size;
    put_id(s, "trace_id", v[1]);
    put_id(s, "span_id", v[2]);
    put_optional_text(s, "trace_state", v[3]);
    put_object(s, "attributes", v[4].slice, 4);
    put_optional_number(s, "flags", v[6]);
    put_optional_number(s, "dropped_attributes_count", v[5]);
    enclose(s, start, "{}");
}

static void put_messages(Otlp *s, const char *name, Slice in, uint32_t number, void (*put_one)(Otlp *, Slice)) {
    Slice sent;
    if (in.p == in.end) return;
    put_name(s, name);
    const size_t start = s->to->size;
    while (read_next(s, &in, number, &sent)) put_one(s, sent);
    enclose(s, start, "[]");
}

static const uint8_t SPAN[FIELDS] = {
    [1] = ONE, [2] = ONE, [3] = ONE, [4] = ONE, [5] = ONE, [6] = ENUM, [7] = F64, [8] = F64, [9] = MANY,
    [10] = U32, [11] = MANY, [12] = U32, [13] = MANY, [14] = U32, [15] = ONE, [16] = F32,
};

static void put_span(Otlp *s, const Value v[FIELDS]) {
    static const char *const SPAN_KINDS[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
    const uint64_t start = v[7].number, end = v[8].number;
    put_time(s, "start_time_unix_nano", v[7]);
    put_id(s, "trace_id", v[1]);
    put_id(s, "span_id", v[2]);
    put_id(s, "parent_span_id", v[4]);
    put_name(s, "name");
    put_text(s, v[5].slice);
    put_name(s, "kind");
    put_enumerated(s, SPAN_KINDS, 6, v[6].number);
    put_status(s, v[15].slice);
    put_attributes(s, v[9].slice, 9, "attributes", 0);
    if (end && start) {
        put_name(s, "duration");
        put_signed(s, end - start, end < start);
    } else {
        put_optional_number(s, "end_time_unix_nano", v[8]);
    }
    put_messages(s, "events", v[11].slice, 11, put_span_event);
    put_messages(s, "links", v[13].slice, 13, put_link);
    put_optional_text(s, "trace_state", v[3]);
    put_optional_number(s, "flags", v[16]);
    put_optional_number(s, "dropped_attributes_count", v[10]);
    put_optional_number(s, "dropped_events_count", v[12]);
    put_optional_number(s, "dropped_links_count", v[14]);
}

/* Log records. */

static const uint8_t LOG_RECORD[FIELDS] = {
    [1] = F64, [2] = ENUM, [3] = ONE, [5] = ONE, [6] = MANY, [7] = U32, [8] = F32, [9] = ONE, [10] = ONE, [11] = F64,
    [12] = ONE,
};

static void put_log_record(Otlp *s, const Value v[FIELDS]) {
    if (v[1].number) {
        put_time(s, "time_unix_nano", v[1]);
        put_optional_number(s, "observed_time_unix_nano", v[11]);
    } else {
        put_time(s, "observed_time_unix_nano", v[11]);
    }
    if (v[5].slice.p != v[5].slice.end) {
        put_name(s, "body");
        put_value(s, v[5].slice, 0);
    }
    put_optional_text(s, "severity_text", v[3]);
    put_optional_number(s, "severity_number", v[2]);
    put_id(s, "trace_id", v[9]);
    put_id(s, "span_id", v[10]);
    put_attributes(s, v[6].slice, 6, "attributes", 0);
    put_optional_text(s, "event_name", v[12]);
    put_optional_number(s, "flags", v[8]);
    put_optional_number(s, "dropped_attributes_count", v[7]);
}

/* Data points of gauges and sums. */

static const uint8_t POINT[FIELDS] = {[2] = F64, [3] = F64, [4] = F64, [6] = F64, [7] = MANY, [8] = U32};

static void put_point(Otlp *s, const Value v[FIELDS]) {
    put_time(s, "time_unix_nano", v[3]);
    put_optional_number(s, "start_time_unix_nano", v[2]);
    if (v[4].slice.p || v[6].slice.p) put_name(s, "value");
    if (v[4].slice.p && v[6].slice.p) fail(s, ODD);
    else if (v[4].slice.p) put_double(s, v[4].number);
    else if (v[6].slice.p) put_signed(s, v[6].number, (int)(v[6].number >> 63));
    put_attributes(s, v[7].slice, 7, "attributes", 0);
    put_optional_number(s, "flags", v[8]);
}

/* The request. */

static void add_part(Otlp *s, int kind, Slice raw) {
    if (s->part_count == s->part_capacity) {
        const size_t capacity = s->part_capacity ? 2 * s->part_capacity : 16;
        Part *parts = realloc(s->parts, capacity * sizeof *parts);
        if (!parts) return fail(s, NO_MEMORY);
        s->parts = parts;
        s->part_capacity = capacity;
    }
    s->parts[s->part_count++] = (Part){
        kind, 1, (int64_t)s->out.size, raw.p ? raw.p - s->body : 0, raw.p ? raw.end - s->body : 0,
        s->dataset.p ? s->dataset.p - s->body : 0, s->dataset.p ? s->dataset.end - s->body : 0,
    };
}

/* Leave it to Python, with the fields of what is around it, if that is what it takes. */
static void add_declined(Otlp *s, int kind, Slice raw, const Buffer *context, size_t start) {
    if (s->status != ODD) return;
    s->status = DONE;
    s->to = &s->out;
    s->out.size = start;
    put_buffer(s, context);
    add_part(s, kind, raw);
}

static void add_event(Otlp *s) {
    Part *last = s->part_count ? &s->parts[s->part_count - 1] : NULL;
    const int64_t size = s->dataset.end - s->dataset.p;
    if (last && last->kind == EVENTS && last->dataset_end - last->dataset_start == size &&
        (!size || !memcmp(s->body + last->dataset_start, s->dataset.p, (size_t)size))) {
        last->count++;
        last->end = (int64_t)s->out.size;
    } else {
        add_part(s, EVENTS, (Slice){NULL, NULL});
    }
}

static void read_items(Otlp *s, Slice in, uint32_t number, const Buffer *context) {
    static const struct {
        const uint8_t *fields;
        void (*put)(Otlp *, const Value[FIELDS]);
    } ITEMS[SIGNALS] = {{SPAN, put_span}, {LOG_RECORD, put_log_record}, {POINT, put_point}};
    Value v[FIELDS];
    Slice raw;
    while (read_next(s, &in, number, &raw)) {
        if (++s->events > s->max_events) return fail(s, TOO_MUCH);
        s->to = &s->out;
        const size_t start = s->out.size;
        read_message(s, raw, ITEMS[s->signal].fields, v);
        if (!s->status) ITEMS[s->signal].put(s, v);
        put_buffer(s, context);
        enclose(s, start, "{}");
        PUT(s, ",");
        if (s->status) add_declined(s, ITEM, raw, context, start);
        else add_event(s);
    }
}

static void count_group(Otlp *s) {
    if (++s->groups > s->max_groups) fail(s, TOO_MUCH);
}

static void read_metric(Otlp *s, Slice raw) {
    static const uint8_t METRIC_FIELDS[FIELDS] = {[1] = ONE, [2] = ONE, [3] = ONE, [5] = ONE, [7] = ONE, [12] = MANY};
    static const uint8_t GAUGE[FIELDS] = {[1] = MANY}, SUM[FIELDS] = {[1] = MANY, [2] = ENUM, [3] = BOOL};
    static const char *const TEMPORALITIES[] = {"unspecified", "delta", "cumulative"};
    Value v[FIELDS], data[FIELDS];
    count_group(s);
    read_message(s, raw, METRIC_FIELDS, v);
    const Slice gauge = v[5].slice, sum = v[7].slice;
    read_message(s, sum.p ? sum : gauge, sum.p ? SUM : GAUGE, data);
    if (sum.p && gauge.p) fail(s, ODD);
    s->to = &s->metric;
    s->to->size = 0;
    put_name(s, "metric");
    put_text(s, v[1].slice);
    put_name(s, "otel.metric.type");
    if (sum.p) PUT(s, "\"sum\"");
    else PUT(s, "\"gauge\"");
    put_optional_text(s, "otel.metric.unit", v[3]);
    put_optional_text(s, "otel.metric.description", v[2]);
    if (sum.p) {
        put_name(s, "otel.metric.temporality");
        put_enumerated(s, TEMPORALITIES, 3, data[2].number);
        put_name(s, "otel.metric.is_monotonic");
        data[3].number ? PUT(s, "true") : PUT(s, "false");
    }
    put_object(s, "otel.metric.metadata", v[12].slice, 12);
    put_buffer(s, &s->scope);
    if (s->status) add_declined(s, METRIC, raw, &s->scope, s->out.size);
    else read_items(s, data[1].slice, 1, &s->metric);
}

static const uint8_t GROUP[FIELDS] = {[1] = ONE, [2] = MANY, [3] = ONE}; /* by resource or by scope */

static void read_scope(Otlp *s, Slice in) {
    static const uint8_t SCOPE[FIELDS] = {[1] = ONE, [2] = ONE, [3] = MANY, [4] = U32};
    Value v[FIELDS], scope[FIELDS];
    Slice raw;
    count_group(s);
    read_message(s, in, GROUP, v);
    read_message(s, v[1].slice, SCOPE, scope);
    s->to = &s->scope;
    s->to->size = 0;
    put_optional_text(s, "scope.name", scope[1]);
    put_optional_text(s, "scope.version", scope[2]);
    put_object(s, "scope.attributes", scope[3].slice, 3);
    put_optional_number(s, "scope.dropped_attributes_count", scope[4]);
    put_optional_text(s, "scope.schema_url", v[3]);
    put_buffer(s, &s->resource);
    if (s->signal != METRICS) return read_items(s, v[2].slice, 2, &s->scope);
    while (read_next(s, &v[2].slice, 2, &raw)) read_metric(s, raw);
}

static void read_group(Otlp *s, Slice in) {
    static const uint8_t RESOURCE[FIELDS] = {[1] = MANY, [2] = U32};
    Value v[FIELDS], resource[FIELDS];
    Slice raw;
    count_group(s);
    read_message(s, in, GROUP, v);
    read_message(s, v[1].slice, RESOURCE, resource);
    s->dataset = (Slice){NULL, NULL};
    s->to = &s->resource;
    s->to->size = 0;
    put_attributes(s, resource[1].slice, 1, "resource", 1);
    put_optional_number(s, "resource.dropped_attributes_count", resource[2]);
    put_optional_text(s, "resource.schema_url", v[3]);
    while (read_next(s, &v[2].slice, 2, &raw)) read_scope(s, raw);
}

static void read_request(Otlp *s, Slice in) {
    Field f;
    while (read_field(s, &in, &f)) {
        if (f.number != 1 || f.wire != BYTES) fail(s, ODD);
        else read_group(s, f.slice);
    }
}

/* Take the names: of each length where they are and how many, then they. Return whether they are that. */
static int read_names(Otlp *s, const uint8_t *names, int64_t bytes) {
    const int64_t head = (int64_t)sizeof s->lengths;
    if (!names || bytes < head) return 0;
    s->names = names;
    memcpy(s->lengths, names, sizeof s->lengths);
    for (int64_t size = 0; size < LENGTHS; size++) {
        const Names *of = &s->lengths[size];
        if (of->offset < 0 || of->offset > bytes || of->count < 0 || of->count > (bytes - of->offset) / (size + 1))
            return 0;
    }
    return 1;
}

/* Read a request of a signal; return DONE, with a result that `tailrace_otlp_free` frees, or why there is none: ODD,
 * TOO_MUCH for the limits, NO_MEMORY, BAD_CALL. */
EXPORT int64_t tailrace_otlp_read(const uint8_t *body, int64_t bytes, int64_t signal, const uint8_t *names,
                                  int64_t names_bytes, const uint64_t *powers, int64_t max_events, int64_t max_groups,
                                  int64_t max_bytes, Result *result) {
    Otlp s = {0};
    if (!body || bytes < 0 || signal < 0 || signal >= SIGNALS || !powers || !result) return BAD_CALL;
    if (max_events < 0 || max_groups < 0 || max_bytes < 0 || !read_names(&s, names, names_bytes)) return BAD_CALL;
    s.signal = signal;
    s.body = body;
    s.powers = powers;
    s.max_events = max_events;
    s.max_groups = max_groups;
    s.max_bytes = (size_t)max_bytes;
    read_request(&s, (Slice){body, body + bytes});
    free(s.custom.bytes);
    free(s.resource.bytes);
    free(s.scope.bytes);
    free(s.metric.bytes);
    if (s.status) {
        free(s.out.bytes);
        free(s.parts);
        return s.status;
    }
    *result = (Result){s.out.bytes, s.parts, (int64_t)s.out.size, (int64_t)s.part_count};
    return DONE;
}

EXPORT void tailrace_otlp_free(Result *result) {
    free(result->text);
    free(result->parts);
    *result = (Result){0};
}
