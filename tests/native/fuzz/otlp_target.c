/* Fuzz target of otlp.c: a byte of options, one that says which allocation fails, then a request in protobuf. What is made
 * of it are events, as scan.c sees it. */

#include "alloc.h"
#include "tables.h"

enum { SIGNAL = 3, FEW_EVENTS = 4, FEW_GROUPS = 8, FEW_BYTES = 16 };
enum { DONE, ODD, TOO_MUCH, NO_MEMORY };
enum { EVENTS, ITEM, METRIC };
enum { HEAD_FLAGS, HEAD_LINE_BYTES, HEAD_IS_LINES, HEAD_CELLS, WIDTH = 3 };
enum { IS_NOT_UTF8 = 32, HAS_SURROGATE = 16, LITTLE = 600, MUCH = 1 << 22 };

typedef struct {
    int64_t kind, count, end, raw_start, raw_end, dataset_start, dataset_end;
} Part;

typedef struct {
    uint8_t *text;
    Part *parts;
    int64_t bytes, count;
} Result;

int64_t tailrace_otlp_read(const uint8_t *body, int64_t bytes, int64_t signal, const uint8_t *names,
                           int64_t names_bytes, const uint64_t *powers, int64_t max_events, int64_t max_groups,
                           int64_t max_bytes, Result *result);
void tailrace_otlp_free(Result *result);

/* `count` events with a comma after each, or members with one before each, are JSON without anything to look at. */
static void check_json(const uint8_t *text, int64_t bytes, int64_t count, int is_members)
{
    const int64_t limits[4] = {1000, MUCH, MUCH, MUCH};
    uint8_t *array = exactly((size_t)bytes + 3);
    int64_t size = 0;
    array[size++] = '[';
    memcpy(array + size, text, (size_t)bytes);
    if (is_members)
        array[size] = '{';
    size += bytes;
    if (is_members)
        array[size++] = '}';
    else
        CHECK(array[--size] == ',');
    array[size++] = ']';
    int64_t *cells = exactly((size_t)(HEAD_CELLS + count * WIDTH) * sizeof *cells);
    CHECK(tailrace_scan(array, size, 0, 1, (const uint8_t *)limits, sizeof limits, cells, HEAD_CELLS + count * WIDTH) ==
          count);
    CHECK(cells[HEAD_FLAGS] == 0);
    free(cells);
    free(array);
}

static void check_part(const Part *part, int64_t start, const Result *result, int64_t bytes)
{
    CHECK(part->end >= start && part->end <= result->bytes && part->count > 0);
    CHECK(part->raw_start >= 0 && part->raw_start <= part->raw_end && part->raw_end <= bytes);
    CHECK(part->dataset_start >= 0 && part->dataset_start <= part->dataset_end && part->dataset_end <= bytes);
    CHECK(part->kind == EVENTS || part->kind == ITEM || part->kind == METRIC);
    CHECK(part->kind == EVENTS || part->count == 1);
    if (part->kind == EVENTS || part->end > start)
        check_json(result->text + start, part->end - start, part->count, part->kind != EVENTS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint8_t options = data[0];
    const int fail_at = data[1] >= '0' ? data[1] - '0' : 0;
    const int64_t bytes = (int64_t)size - 2, signal = (options & SIGNAL) % 3;
    uint8_t *body = exactly((size_t)bytes);
    memcpy(body, data + 2, (size_t)bytes);
    Result result;
    failing = fail_at;
    const int64_t status =
        tailrace_otlp_read(body, bytes, signal, NAMES, sizeof NAMES, POWERS_OF_TEN, options & FEW_EVENTS ? 2 : 1000,
                           options & FEW_GROUPS ? 3 : 1000, options & FEW_BYTES ? LITTLE : MUCH, &result);
    CHECK(status == DONE || status == ODD || status == TOO_MUCH || (status == NO_MEMORY && fail_at));
    failing = 0;
    if (status == DONE) {
        int64_t start = 0;
        for (int64_t i = 0; i < result.count; i++) {
            check_part(&result.parts[i], start, &result, bytes);
            start = result.parts[i].end;
        }
        CHECK(start == result.bytes);
        tailrace_otlp_free(&result);
    }
    free(body);
    return 0;
}
