"""Greets people."""

from greeter.words import HELLO


def greet(name: str) -> str:
    """A plain greeting."""
    return f"{HELLO}, {name}."
