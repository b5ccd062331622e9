"""What everything stands on: errors, files, parameters, the environment."""
