"""Records as stores keep them: JSON with a format number."""
