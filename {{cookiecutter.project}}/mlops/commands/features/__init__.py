"""Commands about columns that are made of events."""
