"""Jobs: what they are asked to do, their states, who runs them, and the record of what is done.

- service: what the API and the command line call
- spec, checks, plans: the job document, whether it can be done, what it means for a run
- target, fitting: what a job scores with, and whether the job fits it
- states: every change of a job's state, by compare-and-set; store, uploads: reading and creating, the client's data
- uploading: what the API tells a job about its data; interrupted, presence: data that broke off, APIs that died
- lease: claiming, holding, taking over; ledger: which chunks are in the output
- worker: the loop of a worker; running: one run; ticket, progress: a run's papers and its link back
"""
