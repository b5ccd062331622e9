"""Our speed beside that of peers: whole processes, the same data, taking turns in one run, medians of five."""
