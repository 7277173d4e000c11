"""What a client does, as log lines, as events for `on_event`, and as numbers: one observer serves all three."""
