"""RedisStore: records in Redis, shared by replicas."""
