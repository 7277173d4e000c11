"""The emulator's jobs: accounts, limits, workers."""
