"""The root of every error this package raises; the errors themselves stand beside the code that raises them."""

from __future__ import annotations


class GitopsError(Exception):
    """Something about git did not work; the text names the object, what happened and what to do next.

    Args:
        subject: The repository, ref or object concerned.
        problem: What happened.
        remedy: What the reader does next.
    """

    def __init__(self, subject: str, problem: str, *, remedy: str) -> None:
        super().__init__(f"{subject}: {problem}; {remedy}")
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
