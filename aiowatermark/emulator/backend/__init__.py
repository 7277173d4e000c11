"""The state and the work behind the emulated APIs: tasks, accounts, limits and workers."""
