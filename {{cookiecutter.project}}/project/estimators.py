"""Your own estimators: classes with scikit-learn's interface (`fit`, `predict`, `get_params`).

A class `Mine` here is used as a model of `params.yaml`, with its arguments below it:

    models:
      mine:
        classifier: project.estimators.Mine

What its `predict` says is the answer, so that it may have a threshold of its own.
"""
