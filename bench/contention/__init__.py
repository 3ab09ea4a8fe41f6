"""The contention harness: load on one or several servers, and what came of it."""
