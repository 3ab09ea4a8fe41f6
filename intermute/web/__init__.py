"""HTTP and WebSocket: who is calling, what they ask, what they are told."""
