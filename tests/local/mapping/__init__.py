"""Tests of `ras_local.mapping`, a file per room."""
