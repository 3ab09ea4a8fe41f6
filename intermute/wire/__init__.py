"""JSON and query strings to commands, views to JSON. Pure: no sockets, no clock."""
