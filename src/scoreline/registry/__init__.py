"""What can score: model artefacts, registered models and their versions (packages), deployments, prediction servers.

Every function takes the caller; what the caller may not see is NotFound, for reads and changes alike.
"""
