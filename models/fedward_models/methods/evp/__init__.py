"""Visual prompting: a frozen network is adapted by a border of learned pixels."""
