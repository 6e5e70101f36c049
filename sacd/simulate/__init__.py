"""Simulated nights and videos, written as the files that `sacd.data` reads."""
