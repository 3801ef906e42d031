"""Prediction sets whose coverage holds under every change of a threat: from bounds, and from votes under noise."""
