"""Smart HTTP: the app, the rules of who may move which ref, signed tree downloads."""
