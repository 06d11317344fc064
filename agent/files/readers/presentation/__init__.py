"""Presentations (.pptx): slides in the order of the show.

What stays true: a slide that cannot be read costs nothing but itself.
"""
