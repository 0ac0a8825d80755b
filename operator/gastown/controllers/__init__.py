"""Wiring, a module per decider: which stores feed its input, and which change wakes which key."""
