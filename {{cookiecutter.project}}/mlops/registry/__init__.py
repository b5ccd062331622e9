"""Runs and versions in MLflow: the only area that imports MLflow."""
