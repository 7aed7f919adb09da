"""``cutscene``: plays scripts through a server, and shows what there is to play."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from cutscene_client.commands import play, recordings, render, scripts, server
from cutscene_client.errors import CutsceneError, ServerUnreachable

EXAMPLES = """\
examples:
  cutscene scripts                                   what can be played right away
  cutscene play tavern_dialogue -o tavern.mp4        play a shipped script
  cutscene play my_scene.yaml -o out.mp4 --sheet out.png --tier high
  cutscene play my_scene.yaml -o out.mp4 --reference still.jpg
                                                     with a picture of what it is to look like, if the model takes any
  cutscene render tavern_dialogue my_scene.yaml -o films
                                                     films made by the server while it has time
  cutscene recordings                                what was played, and can be played again
  cutscene replay 3f9a --verify                      again, and are the pixels the same?
  cutscene replay 3f9a -o other.mp4 --camera 0,2,5:0,1,0 --set cast.ada=mage
  cutscene export 3f9a -o tavern.cutscene            a session as a file, to be moved to another server
  cutscene import tavern.cutscene --server other:50400
  cutscene top                                       what a running server does now: sessions, rates, latencies
  cutscene check my_scene.yaml                       is it valid, and will the camera see what it should?
  cutscene library tavern                            the marks and lights of a room, to write scripts with
  cutscene schema > cutscene.schema.json             for editors that complete YAML

`play`, `render`, `replay`, `export`, `import`, `models`, `sessions` and `top` need a server: run `cutscene-server` in
another terminal.

exit codes: 0 done, 1 failed, 2 wrong arguments
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except ServerUnreachable as error:
        print(f"cutscene: {error}", file=sys.stderr)
        if error.refused:
            print(f"Start a server in another terminal and try again:\n  cutscene-server --listen {options.server}",
                  file=sys.stderr)  # fmt: skip
        return 1
    except BrokenPipeError:  # the reader of a list had seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (CutsceneError, OSError) as error:
        print(f"cutscene: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cutscene: stopped", file=sys.stderr)
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "cutscene", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for about in (play, render, recordings, server, scripts):
        about.add_commands(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
