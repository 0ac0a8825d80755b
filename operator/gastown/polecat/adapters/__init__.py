"""One module per agent CLI: how to start it, what its output means."""
