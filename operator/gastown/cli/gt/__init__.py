"""Commands of gt."""
