"""One SQLite file per project: migrations, the single writer, the readers."""
