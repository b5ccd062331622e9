"""Pure functions that judge a model: intervals, curves, importances, groups, comparison, gate, card."""
