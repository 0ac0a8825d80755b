"""Words the greetings are made of."""

HELLO = "Hello"
