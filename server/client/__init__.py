"""The command-line client: sends files, watches sessions and commands them, over the public interfaces only.

It shares with the server what is pure (`protocol/`) and the exit codes, nothing else.
"""
