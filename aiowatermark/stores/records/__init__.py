"""Records as JSON with a format number, the form in which stores keep them: `dump` writes it, `load` reads it."""
