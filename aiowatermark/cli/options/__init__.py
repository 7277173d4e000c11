"""Options shared by several commands: provider, store and callbacks."""
