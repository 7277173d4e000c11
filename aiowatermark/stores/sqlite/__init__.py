"""SQLiteStore: records in one SQLite file, written by one thread."""
