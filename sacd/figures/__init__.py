"""Figures: functions that take tables or arrays and return a figure."""
