"""Pure functions that draft a first schema from data."""
