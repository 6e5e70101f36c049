"""Which runs each table and figure needs: profiles, workspace, items; executing notebooks and recording results."""
