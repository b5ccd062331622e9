"""What people and CI run: `python -m ops <command>`."""
