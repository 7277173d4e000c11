"""What RedisStore does about a server that has forgotten its latest writes."""
