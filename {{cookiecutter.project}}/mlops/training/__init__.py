"""Pure functions that encode, fit, search and score."""
