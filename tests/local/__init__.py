"""The stack on this machine, as far as it can be tested without starting it."""
