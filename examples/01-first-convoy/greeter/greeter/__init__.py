"""Greets people."""


def greet(name: str) -> str:
    """A plain greeting."""
    return f"Hello, {name}."
