/* What the C files share: what is exported, and the number by which Python knows that a shared object is of its time. */

#ifndef TAILRACE_NATIVE_H
#define TAILRACE_NATIVE_H

/* Raised with each change of a signature, a layout or a meaning, together with ABI in library.py. */
#define TAILRACE_NATIVE_ABI 1

#define EXPORT __attribute__((visibility("default")))

#endif
