"""Clips cut from a lab's own videos, from what was observed in them: see own_data.py."""
