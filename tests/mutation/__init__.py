"""Mutation testing: a change to the service's code that no test notices is a gap in the tests."""
