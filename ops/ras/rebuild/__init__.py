"""`ras rebuild`: a second table filled from the topics, compared, and put in the place of the first."""
