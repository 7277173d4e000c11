"""The conductor: jobs under their limits, from the first byte to the result."""
