import unittest

from greeter import greet


class GreetTest(unittest.TestCase):
    def test_a_greeting_names_the_person(self) -> None:
        self.assertEqual(greet("Ada"), "Hello, Ada.")
