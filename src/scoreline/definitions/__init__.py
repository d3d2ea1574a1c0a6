"""Job definitions: bodies of jobs that are kept, run when somebody asks or when they are due.

`records` holds the rows, `service` is what the API does with them, with the caller's rights.
"""
