"""Pure functions on tables: schema, typing, cleaning, splitting, digests, profiles, checks."""
