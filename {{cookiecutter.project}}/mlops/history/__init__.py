"""The project's past: Git, DVC's cache, revisions, data versions, clones, experiments."""
