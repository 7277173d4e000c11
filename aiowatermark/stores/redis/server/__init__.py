"""The server behind a RedisStore: how its URL is read, its clients, its settings."""
