"""The cutscene server. Start reading at ``runtime``: schedule, run, deliver, on one screen.

service/   the gRPC face: host (server, health), calls (the contract's calls), stream (one client's Perform)
wire/      messages to values and back, every field checked
runtime    between streams and the inference process; owns the loop above
session    one session's logic, without I/O: numbering, turns, credit; session_states (the table), session_log,
           terms, keyframes beside it
registry   sessions by id and token;  scheduler  whose frame is next
worker     the inference process; worker_link (this side of it), worker_messages, frame_ring between them
observer   is told by all of these what happens: recent (the last seconds), metrics (what is exported, and its help
           texts), metrics_endpoint, loop_lag;  logs  lines with their session's fields
config, errors, running (a whole server for one block), __main__ (the program)
"""
