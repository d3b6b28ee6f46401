"""The protocols: one module each, translating HTTP to batches and outcomes to HTTP, without I/O."""
