"""Batch jobs: performances that are drawn into films while no live session wants a frame.

A job is a list of items, each a whole performance that becomes one film. An item is stored as an ordinary session with
all its turns, whose token nobody knows; the server takes it up in the background as a client would resume it. So what
is drawn is durable, exact and goes on after a crash without anything being written for it here.

jobs         jobs, items and their queue: a table of states, no I/O
job_files    jobs on disk
intake       a job that is being handed in: limits, and its sessions stored
performance  one item: its session's frames into its film
film         a film that is being made, as this process sees it;  encoder  the process that makes it
outputs      where films go: a directory, or an S3-style store
renders      all of these together: start there
"""
