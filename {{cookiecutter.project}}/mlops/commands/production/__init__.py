"""Commands about versions of the model: registry, approval, lineage."""
