"""Where things are kept: the only room that touches disk and network."""
