/* Allocation, as what is fuzzed is compiled to call it: the one that `failing` counts down to fails. */

#ifndef ALLOC_H
#define ALLOC_H

#include "check.h"

static int failing;

static int fails(void) { return failing && --failing == 0; }

void *fuzz_malloc(size_t size) { return fails() ? NULL : malloc(size); }
void *fuzz_calloc(size_t count, size_t size) { return fails() ? NULL : calloc(count, size); }
void *fuzz_realloc(void *old, size_t size) { return fails() ? NULL : realloc(old, size); }

#endif
