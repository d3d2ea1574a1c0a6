"""What can be read: datasets, their versions, and what each column of them holds.

`opening` tells what a file is and reads it block by block; `columns` gathers what is known of a column; `profile` runs
both over a file; `datasets` keeps the records; `making` takes a file from its arrival to a version that jobs can use.
"""
