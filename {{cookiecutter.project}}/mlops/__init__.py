"""The machinery: an upgrade replaces this folder whole. `python -m mlops --help` lists the commands."""
