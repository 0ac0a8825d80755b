"""PID 1 of a session pod; stdlib only, since it runs in images that are not ours."""
