"""The repo-server: serves the rigs' repositories over smart HTTP to agents and people, and trees to gate Jobs."""
