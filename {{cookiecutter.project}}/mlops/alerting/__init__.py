"""Telling people and other programs that something is the matter: channels, issues, and what was told already."""
