"""What is told of a results folder, from the files in it alone: claims, verdicts, the site."""
