/* Fuzz target of shred.c: a byte of options, one that says which allocation fails, then lines. They are shredded as
 * they are, and as scan.c lets them through. */

#include "alloc.h"
#include "tables.h"

enum { FEW_NODES = 1, SMALL_ARENA = 2, ONE_LINE = 4, PLACE_LATE = 8, PLACE_FEW = 16 };
enum { BOOLEAN, INTEGER, FLOAT, STRING, ARRAY, NONE, MAP, NUMBER };
enum { OK, NO_MEMORY, INVALID };
enum { MAX_READS = 16 }; /* of a text, each of which copies all that is left of it */

typedef struct Shredder Shredder;

typedef struct {
    int64_t number, kind, nulls, validity, offsets, data, size, next;
} Column;

typedef struct {
    uint64_t bytes, since;
    uint32_t count, batch, recent, path;
    int32_t column, output;
    uint8_t kind, told, offered, unused;
} Slot;

typedef struct {
    int64_t rows, bytes, refused_count, column_count, slot_count, untold_count, total;
    uint32_t *refused;
    Column *columns;
    Slot *slots;
    uint32_t *untold;
} Result;

Shredder *tailrace_shred_new(const uint64_t *random, const uint64_t *powers, uint32_t max_nodes, uint64_t max_arena);
void tailrace_shred_free(Shredder *s);
int tailrace_shred_read(Shredder *s, const uint8_t *text, uint64_t size, uint32_t most);
int tailrace_shred_plan(Shredder *s);
int tailrace_shred_fill(Shredder *s, const uint8_t *text, uint64_t size, uint8_t *out, uint64_t capacity);
int tailrace_shred_place(Shredder *s, const uint8_t *path, uint64_t size, uint32_t kind, int32_t column);
uint64_t tailrace_shred_keys(const Shredder *s, uint32_t slot, uint8_t *to, uint64_t capacity);

static int place(Shredder *s, uint32_t slot, int32_t number)
{
    const uint64_t size = tailrace_shred_keys(s, slot, NULL, 0);
    uint8_t *keys = exactly(size), *path = exactly(size);
    CHECK(tailrace_shred_keys(s, slot, keys, size) == size);
    uint64_t end = size, path_size = 0; /* the innermost key comes first, and is the last of the path */
    for (uint64_t at = 0; at < size;) {
        uint32_t key;
        memcpy(&key, keys + at, 4);
        CHECK(key <= size - at - 4);
        end -= key;
        memcpy(path + end, keys + at + 4, key);
        path_size += key;
        at += 4 + (uint64_t)key;
        if (at < size) {
            path[--end] = '.';
            path_size++;
        }
    }
    const int status =
        tailrace_shred_place(s, path + end, path_size, ((const Result *)(const void *)s)->slots[slot].kind, number);
    free(keys);
    free(path);
    return status;
}

static int place_columns(Shredder *s, uint8_t options, int32_t *number)
{
    const Result *result = (const Result *)(const void *)s;
    for (int64_t slot = 1; slot < result->slot_count; slot++) {
        const Slot *seen = &result->slots[slot];
        if (seen->column >= 0 || seen->kind > ARRAY || !seen->recent || (options & PLACE_FEW && slot % 3))
            continue;
        const int status = place(s, (uint32_t)slot, *number);
        if (status != OK)
            return status;
        CHECK(result->slots[slot].column == *number);
        ++*number;
    }
    return OK;
}

static int bit(const uint8_t *bits, int64_t at) { return bits[at >> 3] >> (at & 7) & 1; }

static void check_column(const Column *column, const uint8_t *out, int64_t rows, int64_t total)
{
    int64_t valid = rows;
    if (column->validity >= 0) {
        CHECK(column->validity + (rows + 7) / 8 <= total);
        valid = 0;
        for (int64_t row = 0; row < rows; row++)
            valid += bit(out + column->validity, row);
    }
    CHECK(column->nulls == rows - valid);
    CHECK(column->data >= 0 && column->size >= 0 && column->data + column->size <= total);
    if (column->offsets < 0) {
        CHECK(column->size == (column->kind == BOOLEAN ? (rows + 7) / 8 : 8 * rows));
        return;
    }
    CHECK(column->offsets + 4 * (rows + 1) <= total);
    int32_t last = 0;
    for (int64_t row = 0; row <= rows; row++) {
        int32_t offset;
        memcpy(&offset, out + column->offsets + 4 * row, 4);
        CHECK(row ? offset >= last : offset == 0);
        last = offset;
    }
    CHECK(last == column->size);
}

static int shred_portion(Shredder *s, const uint8_t *text, uint64_t size, uint8_t options, int round, int32_t *number)
{
    const Result *result = (const Result *)(const void *)s;
    uint32_t lines = 0;
    for (uint64_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    if (options & ONE_LINE && lines > 1)
        lines = 1;
    int status = tailrace_shred_read(s, text, size, lines);
    if (status != OK)
        return status;
    CHECK(result->rows >= 0 && result->rows <= lines && (uint64_t)result->bytes <= size);
    for (int64_t i = 0; i < result->refused_count; i++)
        CHECK(result->refused[i] < result->rows && (!i || result->refused[i - 1] < result->refused[i]));
    if (!(options & PLACE_LATE && !round) && (status = place_columns(s, options, number)) != OK)
        return status;
    status = tailrace_shred_plan(s);
    if (status != OK)
        return status;
    CHECK(result->total >= 0);
    uint8_t *out = exactly((size_t)result->total);
    if (result->total)
        CHECK(tailrace_shred_fill(s, text, size, out, (uint64_t)result->total - 1) == INVALID);
    CHECK(tailrace_shred_fill(s, text, size, out, (uint64_t)result->total) == OK);
    for (int64_t i = 0; i < result->column_count; i++)
        check_column(&result->columns[i], out, result->rows, result->total);
    free(out);
    return OK;
}

/* Shred lines twice with one shredder, whose columns are known the second time. */
static void shred(const uint8_t *text, uint64_t size, uint8_t options, int fail_at)
{
    const uint64_t seeds[3] = {1, 2, 3};
    failing = fail_at;
    Shredder *s = tailrace_shred_new(seeds, POWERS_OF_FIVE, options & FEW_NODES ? 8 : 512, options & SMALL_ARENA ? 64 : 16384);
    CHECK(s || fail_at);
    int32_t number = 0;
    for (int round = 0; s && round < 2; round++) {
        uint64_t at = 0;
        for (int reads = 0; at < size && reads < MAX_READS; reads++) {
            uint8_t *portion = exactly(size - at);
            memcpy(portion, text + at, size - at);
            const int status = shred_portion(s, portion, size - at, options, round, &number);
            const uint64_t bytes = (uint64_t)((const Result *)(const void *)s)->bytes;
            free(portion);
            if (status != OK) {
                CHECK(status == NO_MEMORY && fail_at && !failing); /* and then there is memory again */
                fail_at = 0;
            } else {
                CHECK(bytes > 0); /* each read takes a line at least, or it would never end */
                at += bytes;
            }
        }
    }
    failing = 0;
    tailrace_shred_free(s);
}

static void shred_scanned(const uint8_t *text, int64_t size, uint8_t options, int fail_at)
{
    const int64_t limits[4] = {1000, 1 << 20, 1 << 20, 1 << 20}, cell_count = 3 + 3 * (size / 2 + 1);
    int64_t *cells = exactly((size_t)cell_count * sizeof *cells);
    const int64_t count =
        tailrace_scan(text, size, 0, 0, (const uint8_t *)limits, sizeof limits, cells, cell_count);
    if (count > 0) {
        const int64_t line_bytes = cells[1];
        uint8_t *lines = exactly((size_t)line_bytes);
        const int64_t written = tailrace_scan_lines(text, size, cells, cell_count, 3, count, lines, line_bytes);
        CHECK(written > 0);
        shred(lines, (uint64_t)written, options, fail_at);
        free(lines);
    }
    free(cells);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const uint8_t options = data[0];
    const int fail_at = data[1] >= '0' ? data[1] - '0' : 0;
    shred_scanned(data + 2, (int64_t)size - 2, options, fail_at);
    uint8_t *text = exactly(size - 1);
    memcpy(text, data + 2, size - 2);
    text[size - 2] = '\n';
    shred(text, size - 1, options, fail_at);
    free(text);
    return 0;
}
