"""Fuzzing the decoder: whatever a record holds, it is read or rejected, and nothing else happens."""
