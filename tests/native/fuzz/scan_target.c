/* Fuzz target of scan.c: a byte of options, then a body. */

#include "check.h"

enum { IS_ARRAY = 1, LITTLE_ROOM = 2, TIGHT = 4, LATER = 8, NO_NAMES = 16 };
enum { HEAD_FLAGS, HEAD_LINE_BYTES, HEAD_IS_LINES, HEAD_CELLS };
enum { START, END, FLAGS, VALUES, COLUMNS = 2, WIDTH = VALUES + 2 * COLUMNS };
enum { IS_LARGE = 64, SPANS_LINES = 128 };

static uint8_t rules[128];
static int64_t rules_bytes;

static void add_name(const char *name, uint8_t column)
{
    const size_t size = strlen(name);
    rules[rules_bytes] = (uint8_t)size;
    rules[rules_bytes + 1] = column;
    memcpy(rules + rules_bytes + 2, name, size);
    rules_bytes += (int64_t)size + 2;
}

static void make_rules(uint8_t options)
{
    const int64_t wide[4] = {100, 200, 1000, 10000}, tight[4] = {2, 3, 4, 20};
    memcpy(rules, options & TIGHT ? tight : wide, sizeof wide);
    rules_bytes = sizeof wide;
    if (options & NO_NAMES)
        return;
    add_name("t", 1);
    add_name("_time", 0);
    add_name("_rest", 255);
}

/* Scan a copy of a body that nothing stands beside; all cells are those of the whole body. */
static int64_t scan(const uint8_t *body, int64_t bytes, int64_t start, int is_array, int64_t **cells, int64_t cell_count)
{
    *cells = exactly((size_t)cell_count * sizeof **cells);
    return tailrace_scan(body, bytes, start, is_array, rules, rules_bytes, *cells, cell_count);
}

static void check_rows(const uint8_t *body, int64_t bytes, const int64_t *cells, int64_t rows, int64_t width)
{
    int64_t last = 0, flags = 0, line_bytes = 0;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t *row = cells + HEAD_CELLS + i * width;
        CHECK(row[START] >= last && row[START] < row[END] && row[END] <= bytes);
        CHECK(body[row[START]] == '{' && body[row[END] - 1] == '}');
        for (int64_t value = VALUES; value < width; value += 2)
            CHECK((!row[value] && !row[value + 1]) ||
                  (row[START] < row[value] && row[value] < row[value + 1] && row[value + 1] < row[END]));
        last = row[END];
        flags |= row[FLAGS];
        line_bytes += row[END] - row[START] + 1;
    }
    CHECK(flags == cells[HEAD_FLAGS] && line_bytes == cells[HEAD_LINE_BYTES]);
}

/* The lines of a body are accepted again, as lines, with the same flags. */
static void check_lines(const uint8_t *body, int64_t bytes, const int64_t *cells, int64_t cell_count, int64_t rows,
                        int64_t width)
{
    uint8_t *lines = exactly((size_t)cells[HEAD_LINE_BYTES]);
    const int64_t written =
        tailrace_scan_lines(body, bytes, cells, cell_count, width, rows, lines, cells[HEAD_LINE_BYTES]);
    CHECK(written >= 0 && written <= cells[HEAD_LINE_BYTES]);
    uint8_t *copy = exactly((size_t)written);
    memcpy(copy, lines, (size_t)written);
    int64_t *again;
    CHECK(scan(copy, written, 0, 0, &again, cell_count) == rows);
    CHECK(again[HEAD_IS_LINES]);
    const int64_t moved = IS_LARGE | SPANS_LINES; /* which the white space that is gone may have caused */
    for (int64_t i = 0; i < rows; i++)
        CHECK((again[HEAD_CELLS + i * width + FLAGS] & ~moved) == (cells[HEAD_CELLS + i * width + FLAGS] & ~moved));
    if (written)
        CHECK(tailrace_scan_lines(body, bytes, cells, cell_count, width, rows, lines, written - 1) < 0);
    free(again);
    free(copy);
    free(lines);
}

/* Whatever lines are, each gets the prefix, within the room that there is for it. */
static void check_prefixed(const uint8_t *lines, int64_t bytes)
{
    static const uint8_t PREFIX[] = {'{', '"', 'l', '"', ':', '1'};
    int64_t room = bytes;
    for (int64_t i = 0; i <= bytes; i++)
        if (i == bytes || lines[i] == '\n')
            room += (int64_t)sizeof PREFIX + 2;
    uint8_t *out = exactly((size_t)room);
    const int64_t written = tailrace_scan_prefixed(lines, bytes, PREFIX, sizeof PREFIX, out, room);
    CHECK(written >= 0 && written <= room);
    if (written)
        CHECK(tailrace_scan_prefixed(lines, bytes, PREFIX, sizeof PREFIX, out, written - 1) < 0);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    const uint8_t options = *data;
    const int64_t bytes = (int64_t)size - 1, start = options & LATER && bytes ? 1 : 0;
    uint8_t *body = exactly((size_t)bytes);
    memcpy(body, data + 1, (size_t)bytes);
    make_rules(options);
    const int64_t width = options & NO_NAMES ? VALUES : WIDTH;
    const int64_t room = options & LITTLE_ROOM ? 2 : bytes / 2 + 1;
    const int64_t cell_count = HEAD_CELLS + room * width + (options & LITTLE_ROOM);
    int64_t *cells;
    const int64_t count = scan(body, bytes, start, options & IS_ARRAY, &cells, cell_count);
    CHECK(count >= -1);
    if (count >= 0 && count <= room) {
        check_rows(body, bytes, cells, count, width);
        check_lines(body, bytes, cells, cell_count, count, width);
    }
    check_prefixed(body, bytes);
    free(cells);
    free(body);
    return 0;
}
