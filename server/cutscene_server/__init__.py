"""The cutscene server. Start reading at ``step``: schedule, run, deliver, on one screen.

service/   the gRPC face: host (server, health), calls (the contract's calls), stream (one client's Perform)
wire/      messages to values and back, every field checked
step       the loop above, between streams and the inference processes
runtime    what clients can ask for, and the server's life; admission (who may come), crew and inference (the processes
           and their replacement), tidying (memory and disk) beside it
scheduling/  whose frame is next and at which tier, who has a place: pure logic, in simulated time
session    one session's logic, without I/O: numbering, turns, credit; session_states (the table), session_log,
           turns, terms, keyframes, packed_scene beside it
registry   sessions by id and token
worker     the inference process; worker_link (this side of it), hang_watch (does it hang?), command_pipe,
           worker_messages and frame_ring between them
observer   is told by all of these what happens: recent (the last seconds), metrics (what is exported, and its help
           texts), metrics_endpoint, loop_lag;  logs  lines with their session's fields
config, errors, running (a whole server for one block), __main__ (the program)
"""
