"""Runs that trainings have left: which there are, and what differs between two of them. Needs no torch."""
