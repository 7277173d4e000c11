"""The HTTP side of the emulator: routes, forms, responses and injected faults."""
