"""Who wrote what becomes visible: watches directories for files that are renamed, by inotify.

A file sink fills a hidden file whose name says of which attempt and process it is, and commits by renaming it.
"""
import ctypes
import os
import struct
import sys
import threading

MOVED_FROM, MOVED_TO, OVERFLOW = 0x40, 0x80, 0x4000


class Renames:
    """`pairs` has, for each rename in the order of renames, the names before and after."""

    def __init__(self, directories):
        libc = ctypes.CDLL(None, use_errno=True)
        self.events = libc.inotify_init1(os.O_CLOEXEC)
        self.pairs, self.left = [], {}
        for directory in directories:
            os.makedirs(directory, exist_ok=True)
            if libc.inotify_add_watch(self.events, directory.encode(), MOVED_FROM | MOVED_TO) < 0:
                sys.exit(f"inotify: {os.strerror(ctypes.get_errno())}")
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        while True:
            events, at = os.read(self.events, 1 << 16), 0
            while at < len(events):
                _, mask, cookie, length = struct.unpack_from("iIII", events, at)
                name = events[at + 16:at + 16 + length].rstrip(b"\0").decode()
                at += 16 + length
                if mask & OVERFLOW:
                    # The test says that it has missed some.
                    self.pairs.append((None, None))
                elif mask & MOVED_FROM:
                    self.left[cookie] = name
                else:
                    self.pairs.append((self.left.pop(cookie, None), name))
