"""Every bound in one place: queues, bodies, lists, strings, waits. Units stand last in the names.

A bound is here so that nobody can make the server hold, scan or wait for an amount that
nobody chose. Bounds that depend on one another are tied together by the assertions below.
The pattern language keeps its own bounds in `intermute.globs.limits`, because it stands alone.
"""

from typing import Final

# Text, in characters after normalisation.
PROJECT_NAME_LEN_MAX: Final = 200
AGENT_ID_LEN_MAX: Final = 200
AGENT_NAME_LEN_MAX: Final = 200
AGENT_STATUS_LEN_MAX: Final = 100
CAPABILITY_LEN_MAX: Final = 200
METADATA_KEY_LEN_MAX: Final = 200
METADATA_VALUE_LEN_MAX: Final = 16_384
METADATA_LEN_MAX: Final = 65_536
REASON_LEN_MAX: Final = 2_000
IDEMPOTENCY_KEY_LEN_MAX: Final = 200

# Lists and maps, in entries.
CAPABILITIES_MAX: Final = 100
METADATA_ENTRIES_MAX: Final = 256
CONTACTS_MAX: Final = 1_000
PATTERNS_PER_REQUEST_MAX: Final = 256
CONFLICTS_LISTED_MAX: Final = 100

# What one project may hold.
AGENTS_MAX: Final = 10_000
PATTERNS_PER_AGENT_DEFAULT: Final = 256
PATTERNS_PER_AGENT_MAX: Final = 100_000
PATTERNS_ACTIVE_MAX: Final = 250_000
# Characters of patterns with wildcards, in one request and held by one agent. Two patterns that
# were built to be slow cost milliseconds, and what a decision costs is the product of these.
WILD_LEN_MAX: Final = 8_192
PATTERNS_LAPSED_MAX: Final = 50_000
PROJECTS_MAX: Final = 10_000

# Leases. A TTL above the cap is cut to it; one above the absurd bound is an error,
# because no client means it and the arithmetic behind it once overflowed elsewhere.
TTL_DEFAULT_MS: Final = 30 * 60 * 1000
TTL_MAX_MS: Final = 24 * 60 * 60 * 1000
TTL_ABSURD_MS: Final = 366 * 24 * 60 * 60 * 1000
HEARTBEAT_GRACE_MS: Final = 5 * 60 * 1000
SESSION_STALE_MS: Final = 5 * 60 * 1000
SWEEP_INTERVAL_MS: Final = 1_000
IDEMPOTENCY_KEPT_MS: Final = 25 * 60 * 60 * 1000
IDEMPOTENCY_PURGE_ROWS_MAX: Final = 1_000
PRESENCE_GRAIN_MS: Final = 10_000

# Pages, in rows.
PAGE_MAX: Final = 1_000

# Feeds. What waits for one subscriber, in events and in characters of their data; then it reads the
# table again. One that is still sending what it was given so long ago, or that fell so many
# events behind after it had been up to date, is too slow.
FEED_QUEUE_LEN_MAX: Final = 512
FEED_QUEUE_DATA_LEN_MAX: Final = 262_144
FEED_PAGE_MAX: Final = 256
FEED_STUCK_MS: Final = 1_000
FEED_LAG_MAX: Final = 10_000
FEED_TYPES_MAX: Final = 100
EVENT_TYPE_LEN_MAX: Final = 64
CURSOR_MAX: Final = 2**63 - 1
BATCH_COMMANDS_MAX: Final = 100

# Actors.
MAILBOX_LEN_MAX: Final = 1_024
BATCH_LEN_MAX: Final = 256
ACTORS_LIVE_MAX: Final = 256
ACTOR_IDLE_MS: Final = 10 * 60 * 1000
READERS_OPEN_MAX: Final = 256

# Storage faults: retries of a lock held by somebody else, then the breaker.
STORAGE_RETRIES_MAX: Final = 5
STORAGE_RETRY_FIRST_MS: Final = 25
STORAGE_RETRY_LAST_MS: Final = 400
BREAKER_FAULTS_MAX: Final = 5
BREAKER_OPEN_MS: Final = 30_000
COMMIT_INLINE_FSYNC_MAX_US: Final = 5_000

# A disk with fewer free bytes than this makes the server say that it is not ready.
DISK_FREE_MIN: Final = 64 * 1024 * 1024

# HTTP.
BODY_LEN_MAX: Final = 1_048_576
BODY_WAIT_MS: Final = 30_000
JSON_DEPTH_MAX: Final = 32
SHUTDOWN_DRAIN_MS: Final = 5_000
SOCKET_USER_TIMEOUT_MS: Final = 10_000
PROBLEM_DETAIL_LEN_MAX: Final = 2_000

assert TTL_DEFAULT_MS <= TTL_MAX_MS < TTL_ABSURD_MS
assert HEARTBEAT_GRACE_MS <= TTL_MAX_MS
assert PATTERNS_PER_REQUEST_MAX <= PATTERNS_PER_AGENT_DEFAULT <= PATTERNS_PER_AGENT_MAX
assert PATTERNS_PER_AGENT_MAX <= PATTERNS_ACTIVE_MAX
assert FEED_PAGE_MAX <= FEED_QUEUE_LEN_MAX < FEED_LAG_MAX
assert BATCH_COMMANDS_MAX <= BATCH_LEN_MAX
assert BATCH_LEN_MAX <= MAILBOX_LEN_MAX
assert STORAGE_RETRY_FIRST_MS <= STORAGE_RETRY_LAST_MS
assert STORAGE_RETRIES_MAX * STORAGE_RETRY_LAST_MS < BREAKER_OPEN_MS
assert IDEMPOTENCY_KEPT_MS >= 24 * 60 * 60 * 1000
assert METADATA_VALUE_LEN_MAX <= METADATA_LEN_MAX < BODY_LEN_MAX
