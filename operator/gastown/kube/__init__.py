"""The only code that speaks to the API server: errors, a blocking client (stdlib) and an asynchronous one (daemons)."""
