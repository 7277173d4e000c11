"""The storage host of the emulator: objects behind signed URLs."""
