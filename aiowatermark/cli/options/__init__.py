"""Options shared by several commands: provider, store, callbacks."""
