/* What the shared object says of itself. */

#include <stdint.h>

#include "native.h"

#ifndef TAILRACE_NATIVE_BUILD
#define TAILRACE_NATIVE_BUILD ""
#endif

EXPORT int32_t tailrace_native_abi(void) { return TAILRACE_NATIVE_ABI; }

/* A digest of the sources, the flags and the platform, by which the build knows whether to build again. */
EXPORT const char *tailrace_native_build(void) { return TAILRACE_NATIVE_BUILD; }
