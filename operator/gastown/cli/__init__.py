"""The command lines gt (workspace) and bd (beads), a module per command, imported when called."""
