/* What the fuzz targets share. */

#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                   \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Return a buffer of that many bytes and no more, so that the sanitizer sees the first byte beyond. */
static inline void *exactly(size_t size)
{
    void *made = malloc(size ? size : 1);
    CHECK(made);
    return made;
}

int64_t tailrace_scan(const uint8_t *body, int64_t bytes, int64_t start, int64_t is_array, const uint8_t *rules,
                      int64_t rules_bytes, int64_t *cells, int64_t cell_count);
int64_t tailrace_scan_lines(const uint8_t *body, int64_t bytes, const int64_t *cells, int64_t cell_count, int64_t width,
                            int64_t count, uint8_t *lines, int64_t lines_bytes);
int64_t tailrace_scan_prefixed(const uint8_t *lines, int64_t bytes, const uint8_t *prefix, int64_t prefix_bytes,
                               uint8_t *out, int64_t out_bytes);

#endif
