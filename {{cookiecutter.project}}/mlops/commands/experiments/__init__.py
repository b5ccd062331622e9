"""Commands that run and compare experiments."""
