"""The way of a version into production: its package, its canary on a running server, and what came of it."""
