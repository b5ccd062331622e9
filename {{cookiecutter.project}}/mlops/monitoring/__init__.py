"""Pure functions that compare a delivery with the training data."""
