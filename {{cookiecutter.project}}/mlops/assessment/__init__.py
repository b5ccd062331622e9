"""How far a project has come: a questionnaire, and what its repository shows."""
