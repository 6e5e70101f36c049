"""Which runs each table and figure needs; executing the notebooks and recording the results."""
