"""What a row looks like: reading features out of text, and writing predictions as text.

Shared by the pipeline and the prediction server, so that a batch job and a single request give the same cells.
"""
