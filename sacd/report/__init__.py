"""Claims, verdicts, README parts and the site, all from the files of a results folder alone."""
