"""What computes a run: one fit() for all that trains, and one task each for teacher, student and so on."""
