"""Jobs: what they are asked to do, their states, who runs them, and the record of what is done.

service   what the API and the command line call          spec, checks, plans   the job document and its meaning
states    every change of state, by compare-and-set       store, uploads        reading and creating; the upload
lease     claiming, holding, taking over                  ledger                which chunks are in the output
worker    the loop of a worker; running: one run          ticket, progress      a run's papers and its link back
"""
