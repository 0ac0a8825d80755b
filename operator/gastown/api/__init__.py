"""The kinds of gastown.dev as frozen stdlib dataclasses, a module per kind; imported by every process and CLI, so no library here."""
