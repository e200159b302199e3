"""`ras replay`: a stretch of topics through the functions again."""
