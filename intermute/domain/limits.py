"""The bounds on what clients send, on queues and on waits. Units stand last in the names.

A bound is here so that nobody can make the server hold, scan or wait for an amount that
nobody chose. Bounds that depend on one another are tied together by the assertions below.
The pattern language keeps its own bounds in `intermute.globs.limits`, because it stands alone.
"""

from typing import Final

# Text, in characters after normalisation.
PROJECT_NAME_LEN_MAX: Final = 200
# The same as it is sent: what is trimmed and composed of it becomes shorter.
PROJECT_TEXT_LEN_MAX: Final = 4 * PROJECT_NAME_LEN_MAX
AGENT_ID_LEN_MAX: Final = 200
AGENT_NAME_LEN_MAX: Final = 200
AGENT_STATUS_LEN_MAX: Final = 100
SESSION_ID_LEN_MAX: Final = 100
AGENT_TOKEN_LEN_MAX: Final = 200
CAPABILITY_LEN_MAX: Final = 200
METADATA_KEY_LEN_MAX: Final = 200
METADATA_VALUE_LEN_MAX: Final = 16_384
METADATA_LEN_MAX: Final = 65_536
REASON_LEN_MAX: Final = 2_000
# What is looked at of a pattern; the pattern language has its own, exact rule.
PATTERN_TEXT_LEN_MAX: Final = 16_384
MODE_LEN_MAX: Final = 32
ANSWER_WORD_LEN_MAX: Final = 20
TRANSPORT_LEN_MAX: Final = 100
MESSAGE_ID_LEN_MAX: Final = 200
THREAD_ID_LEN_MAX: Final = 200
TOPIC_LEN_MAX: Final = 200
SUBJECT_LEN_MAX: Final = 1_000
IMPORTANCE_LEN_MAX: Final = 50
MESSAGE_BODY_LEN_MAX: Final = 1_048_576
SEARCH_LEN_MAX: Final = 500
ENTITY_ID_LEN_MAX: Final = 200
ENTITY_WORD_LEN_MAX: Final = 200
ENTITY_TITLE_LEN_MAX: Final = 1_000
ENTITY_URL_LEN_MAX: Final = 4_000
ENTITY_TEXT_LEN_MAX: Final = 262_144
ENTITY_ITEM_LEN_MAX: Final = 4_000
# All texts of one entity together, and of one page of a list of them.
ENTITY_LEN_MAX: Final = 524_288
ENTITY_PAGE_LEN_MAX: Final = 4_194_304
IDEMPOTENCY_KEY_LEN_MAX: Final = 200
# What an error or a line of the log quotes of what somebody sent, of a pattern, of a program.
QUOTED_LEN_MAX: Final = 100
QUOTED_PATTERN_LEN_MAX: Final = 200
LOGGED_LEN_MAX: Final = 200

# Lists and maps, in entries.
CAPABILITIES_MAX: Final = 100
METADATA_ENTRIES_MAX: Final = 256
CONTACTS_MAX: Final = 1_000
PATTERNS_PER_REQUEST_MAX: Final = 256
CONFLICTS_LISTED_MAX: Final = 100
ENTITY_ITEMS_MAX: Final = 200
CUJ_STEPS_MAX: Final = 200
CUJ_ALTERNATIVES_MAX: Final = 50
CUJ_LINKS_MAX: Final = 1_000
RECIPIENTS_MAX: Final = 1_000
MARKS_PER_REQUEST_MAX: Final = 256
SEARCH_WORDS_MAX: Final = 32

# What one project may hold.
AGENTS_MAX: Final = 10_000
PATTERNS_PER_AGENT_DEFAULT: Final = 256
PATTERNS_PER_AGENT_MAX: Final = 100_000
PATTERNS_ACTIVE_MAX: Final = 250_000
# Characters of patterns with wildcards, in one request and held by one agent. Two patterns that
# were built to be slow cost milliseconds, and what a decision costs is the product of these.
WILD_LEN_MAX: Final = 8_192
TICKETS_PER_AGENT_MAX: Final = 32
TICKETS_MAX: Final = 5_000
PATTERNS_LAPSED_MAX: Final = 50_000
ENTITIES_MAX: Final = 100_000
PROJECTS_MAX: Final = 10_000

# Leases. A TTL above the cap is cut to it; one above the absurd bound is an error,
# because no client means it and the arithmetic behind it could overflow.
TTL_DEFAULT_MS: Final = 30 * 60 * 1000
TTL_MAX_MS: Final = 24 * 60 * 60 * 1000
TTL_ABSURD_MS: Final = 366 * 24 * 60 * 60 * 1000
# A holder and those who wait are told so long before a lease lapses, or at its last quarter.
WARNING_MS: Final = 60_000
HEARTBEAT_GRACE_MS: Final = 5 * 60 * 1000
SESSION_STALE_MS: Final = 5 * 60 * 1000
SWEEP_INTERVAL_MS: Final = 1_000
IDEMPOTENCY_KEPT_MS: Final = 25 * 60 * 60 * 1000
IDEMPOTENCY_PURGE_ROWS_MAX: Final = 1_000
PRESENCE_GRAIN_MS: Final = 10_000

# Waiting. A ticket lasts so long when its waiter is not on the line; what it is granted has to be
# taken up within the time to confirm.
WAIT_MAX_MS: Final = 10 * 60 * 1000
QUEUE_DEFAULT_MS: Final = 30 * 60 * 1000
QUEUE_MAX_MS: Final = 24 * 60 * 60 * 1000
CONFIRM_MS: Final = 30_000
# While an agent is on the line, the server says so often for it that it lives.
LINE_HEARTBEAT_MS: Final = 60_000
CONFLICTS_COUNTED_MAX: Final = 1_000
# How many claims in the way of one another a search for a circle looks at.
DEADLOCK_CLAIMS_MAX: Final = 50_000
# How many of the grants made since are looked through for the one that took a fencing token's
# paths, and for what they cost: one for a plain path, more for a pattern with wildcards.
FENCE_GRANTS_MAX: Final = 10_000
FENCE_PATTERNS_MAX: Final = 2_500

# What one command, or all of a request, may cost by comparing patterns, counted as
# `intermute.globs.work` says, in nanoseconds of a plain machine and on the high side: to read them;
# to find what is in the way, or whether a wait closes a circle; to look whose turn it is, once for
# those concerned and once for what is in their way; to find the lapsed leases that a grant takes
# the paths of; to show what was found. See `intermute.domain.work`.
PATTERN_READ_WORK_MAX: Final = 200_000_000
PATTERN_WORK_MAX: Final = 400_000_000
PATTERN_TURN_WORK_MAX: Final = 200_000_000
PATTERN_LAPSED_WORK_MAX: Final = 100_000_000
PATTERN_SHOW_WORK_MAX: Final = 100_000_000
# Once the requests of a transaction have cost so much it is committed, and others have a turn for
# each so much of it before the project goes on.
TRANSACTION_WORK_MAX: Final = 100_000_000
TURN_PER_WORK: Final = 10_000_000

# Plans. What their patterns may cost to compare with one another is counted in nanoseconds of a
# plain machine, and on the high side: plans that people mean stay far below.
STEPS_MAX: Final = 1_000
STEP_ID_LEN_MAX: Final = 200
PLAN_PATTERNS_MAX: Final = 4_096
PLAN_WILD_LEN_MAX: Final = 32_768
PLAN_WORK_MAX: Final = 500_000_000
PLAN_CONFLICTS_PER_STEP_MAX: Final = 10
PLAN_CYCLE_SHOWN_MAX: Final = 20

# Pages, in rows. A page of messages ends early where its text has so many characters.
PAGE_MAX: Final = 1_000
INBOX_PAGE_DEFAULT: Final = 100
THREADS_PAGE_DEFAULT: Final = 50
STALE_ACKS_PAGE_DEFAULT: Final = 20
SEARCH_PAGE_DEFAULT: Final = 20
SEARCH_PAGE_MAX: Final = 100
MESSAGES_PAGE_LEN_MAX: Final = 2_097_152

# Messages. The newest messages of a sender in a thread that are looked through for one that it
# shares with a recipient, and that number times the recipients; bytes of a body that a list of
# threads shows; how old an acknowledgement that is owed must be before it is called stale.
THREAD_LOOKBACK_MAX: Final = 500
THREAD_LOOKUPS_MAX: Final = 20_000
PREVIEW_LEN_MAX: Final = 200
STALE_ACK_TTL_DEFAULT_MS: Final = 30 * 60 * 1000
BROADCASTS_PER_WINDOW_MAX: Final = 10
RATE_WINDOW_MS: Final = 60_000

# Searches over everything: how many run at once, how many more may wait, how long one may take.
SEARCHES_RUNNING_MAX: Final = 2
SEARCHES_WAITING_MAX: Final = 32
SEARCH_TIME_MAX_MS: Final = 2_000

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
FEED_RECIPIENTS_SHOWN_MAX: Final = 100
# What the sockets of widely used Go clients read in one message; with a longer one they end.
FEED_FRAME_LEN_MAX: Final = 32_768
FEED_COMMENT_MS: Final = 15_000
EVENTS_PAGE_DEFAULT: Final = 100
EVENTS_SCANNED_MAX: Final = 4_096
EVENTS_PAGE_LEN_MAX: Final = 2_097_152
CURSOR_MAX: Final = 2**63 - 1
BATCH_COMMANDS_MAX: Final = 100
BATCH_ANSWER_LEN_MAX: Final = 8_388_608

# Requests of one WebSocket that were not answered yet, in number and in bytes; then it is not read.
SOCKET_MESSAGE_LEN_MAX: Final = 262_144
# Frames are put together up to so many bytes, each lot of which must leave within the time to send.
SOCKET_PIECE_LEN_MAX: Final = 65_536
REQUESTS_IN_FLIGHT_MAX: Final = 256
REQUESTS_IN_FLIGHT_LEN_MAX: Final = 1_048_576
METHOD_LEN_MAX: Final = 100
REQUEST_ID_LEN_MAX: Final = 200
# How long who has opened a socket is believed, before its key and its agent are looked at again.
CALLER_BELIEVED_MS: Final = 1_000

# Windows and live delivery. A focus counts for so long after it was last said. What is typed into
# a pane is bounded in characters, and so is how often one agent may have it done to another.
WINDOWS_PER_AGENT_MAX: Final = 20
WINDOWS_MAX: Final = 10_000
WINDOW_UUID_LEN_MAX: Final = 100
DISPLAY_NAME_LEN_MAX: Final = 200
TMUX_TARGET_LEN_MAX: Final = 200
FOCUS_FRESH_MS: Final = 60_000
POKES_PER_PAIR_MAX: Final = 10
POKE_RECIPIENTS_MAX: Final = 100
POKE_BUSY_RETRY_MS: Final = 5_000
ENVELOPE_BODY_LEN_MAX: Final = 16_384
# What waits to be typed, over all projects, how much of it is typed at once, and for how long it
# may wait before it is too late. Each call of tmux has a deadline and answers so much at most.
DELIVERY_QUEUE_LEN_MAX: Final = 256
DELIVERIES_AT_ONCE_MAX: Final = 8
DELIVERY_WAIT_MS: Final = 10_000
DELIVERY_SETTLE_TRIES_MAX: Final = 5
TMUX_TIMEOUT_MS: Final = 2_000
TMUX_OUTPUT_LEN_MAX: Final = 4_096

# Actors.
MAILBOX_LEN_MAX: Final = 1_024
BATCH_LEN_MAX: Final = 256
TRANSACTION_INLINE_LEN_MAX: Final = 32
ACTORS_LIVE_MAX: Final = 256
ACTOR_IDLE_MS: Final = 10 * 60 * 1000
READERS_OPEN_MAX: Final = 256
# How long a project has to close its file. A bug opens it anew after a pause that grows, and ends
# it when it comes once more than so often in a window.
ACTOR_CLOSE_MS: Final = 10_000
ACTOR_RESTARTS_MAX: Final = 5
ACTOR_RESTARTS_WINDOW_MS: Final = 60_000
ACTOR_PAUSE_FIRST_MS: Final = 50
ACTOR_PAUSE_LAST_MS: Final = 2_000
# What is said to whoever may ask again when nothing tells how soon.
RETRY_SOON_MS: Final = 1_000

# Storage faults: retries of a lock held by somebody else, then the breaker.
STORAGE_RETRIES_MAX: Final = 5
STORAGE_RETRY_FIRST_MS: Final = 25
STORAGE_RETRY_LAST_MS: Final = 400
BREAKER_FAULTS_MAX: Final = 5
BREAKER_OPEN_MS: Final = 30_000
# Files that could not be opened: how many are known, and for how long without another look.
UNUSABLE_MAX: Final = 256
UNUSABLE_BELIEVED_MS: Final = 10_000
COMMIT_INLINE_FSYNC_MAX_US: Final = 5_000

# Requests under way over HTTP: as many as are answered within this time at the rate that was last
# measured, but no fewer and no more than these. Who is under way for longer waits for a disk.
ADMITTED_WAIT_MS: Final = 400
ADMITTED_STALLED_MS: Final = 2_000
REQUESTS_ADMITTED_MIN: Final = 420
REQUESTS_ADMITTED_FIRST: Final = 1_024
REQUESTS_ADMITTED_MAX: Final = 4_096
# At most so often the log says that requests are refused.
OVERLOAD_LOGGED_MS: Final = 10_000

# A disk with fewer free bytes than this makes the server say that it is not ready.
DISK_FREE_MIN: Final = 64 * 1024 * 1024

# HTTP.
BODY_LEN_MAX: Final = 1_048_576
BODY_WAIT_MS: Final = 30_000
# Bodies of which only a part has come, together. Whoever sends one need not send the rest.
BODIES_UNFINISHED_LEN_MAX: Final = 67_108_864
# Up to this a body is taken even so, or large ones that never end would keep all others out.
BODY_SMALL_LEN_MAX: Final = 16_384
# Path and query together, in bytes; headers in number.
TARGET_LEN_MAX: Final = 8_192
HEADERS_MAX: Final = 100
JSON_DEPTH_MAX: Final = 32
JSON_VALUES_MAX: Final = 32_768
# What a parser takes long over: characters of one number, where any has a fraction, and numbers
# with an exponent.
JSON_FLOAT_LEN_MAX: Final = 40
JSON_EXPONENTS_MAX: Final = 1_000
SHUTDOWN_DRAIN_MS: Final = 5_000
SOCKET_USER_TIMEOUT_MS: Final = 10_000
# Connections open at once, as far as the process may have so many descriptors open; what is left
# of those for files of projects.
CONNECTIONS_MAX: Final = 10_240
DESCRIPTORS_RESERVED: Final = 2_048
# What the kernel keeps of connections that were not accepted yet, and of bytes each way.
BACKLOG_MAX: Final = 1_024
SOCKET_BUFFER_LEN: Final = 131_072
# One connection: until its headers and then its body have come, between two requests, to take a
# piece of an answer; then it is closed. How often a peer that is not read is looked for; how long
# it is read after its last answer, so that the answer is not lost to a reset; how long what still
# runs for one that has gone may take to notice.
HEADERS_LEN_MAX: Final = 32_768
HEADERS_WAIT_MS: Final = 10_000
CONNECTION_BODY_WAIT_MS: Final = 35_000
CONNECTION_IDLE_MS: Final = 75_000
SEND_MAX_MS: Final = 5_000
PEER_LOOK_MS: Final = 1_000
LINGER_MS: Final = 1_000
LEAVE_MS: Final = 1_000
SOCKET_PING_MS: Final = 20_000
SOCKET_IDLE_MS: Final = 60_000
SHUTDOWN_REQUESTS_MS: Final = 4_000
# What of one connection may wait for an app that does not take it; then it is not read.
INBOUND_LEN_MAX: Final = 64
INBOUND_BYTES_MAX: Final = 524_288
# The keys file, in bytes, and how often it is looked at.
KEYS_FILE_LEN_MAX: Final = 262_144
KEYS_LOOK_MS: Final = 1_000
PROBLEM_DETAIL_LEN_MAX: Final = 2_000

# The command line: the bytes of an answer that it reads, how long a connection and then the answer
# may take beside what the server was asked to wait, and the answer where an agent's turn waits.
CLI_ANSWER_LEN_MAX: Final = 64 * 1024 * 1024
CLI_CONNECT_MS: Final = 10_000
CLI_ANSWER_MS: Final = 60_000
CLI_INBOX_ANSWER_MS: Final = 10_000

assert TTL_DEFAULT_MS <= TTL_MAX_MS < TTL_ABSURD_MS
assert HEARTBEAT_GRACE_MS <= TTL_MAX_MS
assert 3 * LINE_HEARTBEAT_MS <= HEARTBEAT_GRACE_MS
assert CONFIRM_MS <= HEARTBEAT_GRACE_MS
assert WAIT_MAX_MS <= QUEUE_DEFAULT_MS <= QUEUE_MAX_MS
assert PATTERNS_PER_REQUEST_MAX <= PATTERNS_PER_AGENT_DEFAULT <= PATTERNS_PER_AGENT_MAX
assert PATTERNS_PER_AGENT_MAX <= PATTERNS_ACTIVE_MAX
assert TICKETS_PER_AGENT_MAX <= TICKETS_MAX <= PATTERNS_ACTIVE_MAX
assert CONFLICTS_LISTED_MAX <= CONFLICTS_COUNTED_MAX
assert PLAN_CONFLICTS_PER_STEP_MAX <= CONFLICTS_LISTED_MAX
assert max(STEPS_MAX, PATTERNS_PER_REQUEST_MAX) <= PLAN_PATTERNS_MAX
assert WILD_LEN_MAX <= PLAN_WILD_LEN_MAX
# Whoever was let into the line can be looked at when its turn may have come.
assert PATTERN_TURN_WORK_MAX <= PATTERN_WORK_MAX
assert TURN_PER_WORK <= TRANSACTION_WORK_MAX <= PATTERN_WORK_MAX
assert WARNING_MS < TTL_DEFAULT_MS
assert FEED_PAGE_MAX <= FEED_QUEUE_LEN_MAX < FEED_LAG_MAX
assert BATCH_COMMANDS_MAX <= REQUESTS_IN_FLIGHT_MAX
assert SOCKET_MESSAGE_LEN_MAX <= REQUESTS_IN_FLIGHT_LEN_MAX
assert REQUESTS_ADMITTED_MIN <= REQUESTS_ADMITTED_FIRST <= REQUESTS_ADMITTED_MAX
assert 2 * ADMITTED_WAIT_MS <= ADMITTED_STALLED_MS
assert EVENTS_PAGE_DEFAULT <= PAGE_MAX <= EVENTS_SCANNED_MAX
assert TRANSACTION_INLINE_LEN_MAX <= BATCH_LEN_MAX <= MAILBOX_LEN_MAX
assert STORAGE_RETRY_FIRST_MS <= STORAGE_RETRY_LAST_MS
assert STORAGE_RETRIES_MAX * STORAGE_RETRY_LAST_MS < BREAKER_OPEN_MS
assert IDEMPOTENCY_KEPT_MS >= 24 * 60 * 60 * 1000
assert POKE_RECIPIENTS_MAX <= DELIVERY_QUEUE_LEN_MAX
assert POKE_RECIPIENTS_MAX <= RECIPIENTS_MAX
assert ENVELOPE_BODY_LEN_MAX <= MESSAGE_BODY_LEN_MAX
assert WINDOWS_PER_AGENT_MAX <= WINDOWS_MAX
assert DELIVERIES_AT_ONCE_MAX <= DELIVERY_QUEUE_LEN_MAX
# Looking at a pane, loading a buffer, pasting it and taking it away again.
assert 4 * TMUX_TIMEOUT_MS <= DELIVERY_WAIT_MS < FOCUS_FRESH_MS
assert METADATA_VALUE_LEN_MAX <= METADATA_LEN_MAX < BODY_LEN_MAX
# A body that is late is answered before its connection is closed.
assert BODY_WAIT_MS < CONNECTION_BODY_WAIT_MS
assert SOCKET_PING_MS < SOCKET_IDLE_MS
assert ACTOR_PAUSE_FIRST_MS <= ACTOR_PAUSE_LAST_MS < ACTOR_RESTARTS_WINDOW_MS
assert QUOTED_PATTERN_LEN_MAX < PATTERN_TEXT_LEN_MAX
assert ENTITY_TITLE_LEN_MAX <= ENTITY_TEXT_LEN_MAX <= ENTITY_LEN_MAX < BODY_LEN_MAX
assert ENTITY_LEN_MAX <= ENTITY_PAGE_LEN_MAX
assert BODY_LEN_MAX <= BODIES_UNFINISHED_LEN_MAX
assert CUJ_LINKS_MAX <= PAGE_MAX
assert MESSAGE_BODY_LEN_MAX <= BODY_LEN_MAX <= MESSAGES_PAGE_LEN_MAX
assert INBOX_PAGE_DEFAULT <= PAGE_MAX
assert max(BATCH_ANSWER_LEN_MAX, MESSAGES_PAGE_LEN_MAX) < CLI_ANSWER_LEN_MAX
assert CLI_INBOX_ANSWER_MS <= CLI_ANSWER_MS
assert SEARCH_PAGE_DEFAULT <= SEARCH_PAGE_MAX <= PAGE_MAX
assert RECIPIENTS_MAX <= AGENTS_MAX
assert max(RECIPIENTS_MAX, THREAD_LOOKBACK_MAX) <= THREAD_LOOKUPS_MAX
