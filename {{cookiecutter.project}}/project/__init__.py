"""The project's own code: what its owner writes."""
