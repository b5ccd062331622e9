"""What a repository and its systems show of each criterion: one function a predicate, started by `gathering.gather`."""
