"""Evaluation of what a bundle predicts against what is there. Needs no more than predicting does."""
