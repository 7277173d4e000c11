"""The emulator's storage host: objects behind signed URLs."""
