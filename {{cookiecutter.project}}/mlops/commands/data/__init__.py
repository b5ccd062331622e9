"""Commands that bring in, list and describe data."""
