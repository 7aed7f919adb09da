"""A session as one file, to be moved to another server: its current timeline, and all that the next frame needs.

A ``.cutscene`` file is a ZIP of three entries, stored as they are and in this order:

session.msgpack      msgpack records one after the other: how the session was opened (a map); its turns (a list each:
                     the fields of ``StoredTurn``, but for the run its kind and how many states follow, a list each);
                     its frames (a list each: the fields of ``StoredFrame``, but for the latent)
latents.safetensors  one tensor ``latents``: float16, (frames, channels, rows, columns)
manifest.json        format and version, model, shapes and counts, sizes and BLAKE2b digests of the two before, and the
                     stamp of what the frames were drawn with

No token travels, nor what a token could be checked against: whoever imports a session gets a new id and a new token.
Frames of epochs that were left stay behind; so do turns from before the last 4096.

layout     the names and numbers above, and the manifest
container  the ZIP and its entries, read with suspicion
writing    a session to bytes, piece by piece
reading    bytes to a session, everything checked: what would be refused on the wire is refused here
"""
