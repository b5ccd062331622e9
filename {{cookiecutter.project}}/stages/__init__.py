"""What DVC runs: one small script per stage.

DVC starts whichever `python` comes first on the PATH. With another environment's packages the same `dvc.lock` would
stand for other bytes, so a stage refuses to start there.
"""

from mlops.base import environment

environment.require(environment.COMPUTED_WITH | environment.NEEDED_TO_START)
