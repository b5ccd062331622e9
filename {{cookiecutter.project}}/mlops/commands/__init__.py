"""The commands of `python -m mlops`, one module each."""
