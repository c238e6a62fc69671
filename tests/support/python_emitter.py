"""Emits as a back end in Python does, with python-socketio's write-only manager: a line of JSON in, one emit out."""
import json
import sys

import socketio

manager = socketio.RedisManager(sys.argv[1], write_only=True)
print("ready", flush=True)
for line in sys.stdin:
    call = json.loads(line)
    getattr(manager, call["method"])(*call.get("args", []), **call.get("kwargs", {}))
    print("done", flush=True)
