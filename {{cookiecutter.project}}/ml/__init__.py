"""What the stages compute: typed, pure functions on frames and arrays; no paths, no network, no printing."""
