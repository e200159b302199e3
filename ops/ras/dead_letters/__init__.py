"""Dead letters: what they are, the bucket that holds them, and replaying them."""
