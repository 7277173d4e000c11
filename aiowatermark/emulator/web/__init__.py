"""The emulator's HTTP side: routes, forms, responses, injected faults."""
