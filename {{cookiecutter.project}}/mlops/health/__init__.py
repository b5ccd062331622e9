"""Is the project well (`doctor`), and how does it stand this morning (`status`)?"""
