"""A backend that misbehaves in the way its argument says; standard library only."""

import json
import os
import sys
import time


def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def main(manner):
    sys.stderr.write(f"fake backend, {manner}\n")
    sys.stderr.flush()
    if manner == "dies-at-once":
        sys.exit("ModuleNotFoundError: No module named 'scene_codec'")
    for line in sys.stdin:
        message = json.loads(line)
        answer(manner, message["id"], message["method"], message["params"])
    if manner == "stays":
        time.sleep(600)


def answer(manner, job, method, params):
    if method == "hello":
        greet(manner, job, params)
    elif method == "echo":
        send({"id": job, "result": params})
    elif method == "work":
        send({"method": "progress", "params": {"job": job, "stage": "fit", "fraction": 0.25}})
        send({"method": "log", "params": {"job": job, "text": "a word"}})
        send({"method": "news of a later version", "params": {"job": job}})
        send({"id": job, "result": "done"})
    elif method == "fail":
        data = {"code": "unsupported-scene", "hint": "do better"}
        send({"id": job, "error": {"code": -32012, "message": "too odd", "data": data}})
    elif method == "wait":
        pass  # until it is cancelled
    elif method == "cancel":
        error = {"code": -32001, "message": "cancelled", "data": {"code": "cancelled", "hint": ""}}
        send({"id": params["job"], "error": error})
        send({"id": job, "result": {"cancelled": True}})
    elif method == "shutdown":
        send({"id": job, "result": {}})
        if manner != "stays":
            sys.exit(0)
    elif method == "raw":
        sys.stdout.write(params["text"])
        sys.stdout.flush()
    elif method == "huge-line":
        sys.stdout.write("x" * (17 * 1024 * 1024) + "\n")
        sys.stdout.flush()
    elif method == "die":
        sys.stderr.write("the last words\n")
        sys.stderr.flush()
        os._exit(77)


def greet(manner, job, params):
    if manner == "other-version":
        send({"id": job, "result": {"protocol": 999, "version": "9"}})
    elif manner == "refuses":
        data = {"code": "protocol-mismatch", "hint": "repair it"}
        send({"id": job, "error": {"code": -32003, "message": "wrong protocol", "data": data}})
    elif manner == "silent":
        pass
    else:
        send({"id": job, "result": {"protocol": params["protocol"], "version": "1", "codecs": []}})


main(sys.argv[1])
