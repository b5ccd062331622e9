"""Commands about versions of the model."""
