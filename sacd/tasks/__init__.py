"""What a run computes: pretext, teacher, student, bound. Each task writes its files into the folder it is given."""
