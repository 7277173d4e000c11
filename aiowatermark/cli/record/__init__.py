"""What `aiowatermark record` does: which calls exist, how they are recorded, redacted, written and reported."""
