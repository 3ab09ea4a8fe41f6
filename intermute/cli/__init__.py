"""The `intermute` command."""
