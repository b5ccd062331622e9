"""How mature a project is: a questionnaire, the evidence of its repository, and the report of both."""
