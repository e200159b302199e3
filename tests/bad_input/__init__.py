"""Bad input: what each kind of it gets, through the deployed handlers."""
