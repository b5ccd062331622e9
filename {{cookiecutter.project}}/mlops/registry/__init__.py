"""Runs and versions in MLflow; no other area imports it."""
