"""Continuous training: take deliveries, decide by rules, train in a clone, and propose or promote the result."""
