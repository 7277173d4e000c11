"""SQLiteStore: records in one SQLite file, read and written by one thread."""
