"""Tables and deliveries on disk and in other places."""
