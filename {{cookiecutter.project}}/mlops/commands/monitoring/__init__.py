"""Commands that watch deliveries."""
