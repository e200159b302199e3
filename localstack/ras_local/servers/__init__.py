"""The servers that the stack consists of, and those that tests and benchmarks run against: fetched, started, stopped."""
