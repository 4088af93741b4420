"""What may be asked of the embedded world by name: known before anything is loaded for it."""

__all__ = ["ACTIONS", "FILM_FAULTS", "PEOPLE"]

ACTIONS = ("directions", "discussion", "posing", "waiting", "greeting", "walking")
"""Names of the actions that `motion.procedural_motion` knows."""

PEOPLE = ("two_people", "bystander", "visitor")
"""Whom a film may show besides the person."""

FILM_FAULTS = ("none", "swapped", "turned", "early", *PEOPLE)
"""What a film's calibration may hide, or who else is in it."""
