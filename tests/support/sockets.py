"""A module that notes every socket of the internet that a process opens, in it and in those that it starts."""

WATCHING = """
import os, sys

def note(event, arguments):
    is_address = event in ("socket.getaddrinfo", "socket.gethostbyname")
    is_socket = event == "socket.__new__" and int(arguments[1]) in (2, 10)
    if is_address or is_socket:
        with open(os.environ["SOCKETS"], "a") as file:
            file.write(f"{event} {arguments[-3:]}\\n")

sys.addaudithook(note)
"""
"""Python runs a module of this name at its start, in the processes that a command starts as well."""
