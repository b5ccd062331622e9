"""The model server: requests, engines, routing by a valid test, the log of predictions."""
