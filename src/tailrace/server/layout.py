"""The layout of a data directory: where it is by default, and what the files in it are called."""

from pathlib import Path

DEFAULT_DATA = Path("tailrace-data")
BACKUPS_DIRECTORY = "backups"
CACHE_DIRECTORY = "cache"
KEYS_FILE = "idempotency.keys"
LAKE_DIRECTORY = "lake"
LOG_DIRECTORY = "log"
LOG_DRAINED_FILE = "log-drained"
LOG_LOCATION_FILE = "log-location"
STORAGE_FILE = "storage.json"
TEMPORARY_DIRECTORY = "temporary"
TLS_DIRECTORY = "tls"
WORKER_LOGS_DIRECTORY = "worker-logs"
LOCK_FILE = "lock"
NODE_FILE = "node"
OWNER_TOKEN_FILE = "owner-token"
RELAY_SOCKET = "workers.sock"
RESERVE_FILE = "reserve"
RESTORING_FILE = "restoring"
SERVER_FILE = "server.json"
SESSIONS_FILE = "sessions.key"
