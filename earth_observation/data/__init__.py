"""Readers of scenes and chips, their checks, and the arrays that trainings read."""
