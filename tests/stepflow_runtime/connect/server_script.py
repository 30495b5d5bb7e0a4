"""A component server with the standard library only; the tests write it into files and start them.

The component `/do` does what its input says: `{"echo": x}`, `{"die": status}`, `{"shout": n}` (n KiB to stderr),
`{"pid": true}`, `{"env": name}`, `{"all_env": true}`, `{"open": true}` (descriptors), `{"limits": true}`,
`{"wait": true}` (no answer).
"""

SOURCE = """
import json, os, signal, sys

def send(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\\n")
    sys.stdout.flush()

def do(what):
    if "die" in what:
        print("about to die", file=sys.stderr, flush=True)
        os._exit(what["die"])
    if "shout" in what:
        for _ in range(what["shout"]):
            sys.stderr.write("x" * 1023 + "\\n")
        sys.stderr.flush()
    if "pid" in what:
        return os.getpid()
    if "all_env" in what:
        return sorted(os.environ)
    if "open" in what:
        return sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}"))
    if "limits" in what:
        import resource
        kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)
        return [list(resource.getrlimit(kind)) for kind in kinds] + [[os.getpgid(0), os.getsid(0)]]
    if "env" in what:
        return os.environ.get(what["env"])
    return what.get("echo")

for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method == "initialize":
        send({"id": message["id"], "result": {"server_protocol_version": 1}})
    elif method == "components/list":
        send({"id": message["id"], "result": {"components": [{"component": "/do"}]}})
    elif method == "components/execute":
        what = message["params"]["input"]
        if "wait" not in what:
            send({"id": message["id"], "result": {"output": do(what)}})
"""

SILENT = """
import sys
print("I never answer", file=sys.stderr, flush=True)
for line in sys.stdin:
    pass
"""

FLOODING = """
import sys
sys.stderr.write(("x" * 1023 + "\\n") * 2000 + "end\\n")
sys.stderr.flush()
sys.stdin.read()
"""

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print(child.pid, file=sys.stderr, flush=True)
time.sleep(1000)
"""

FORSAKING = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], stdin=subprocess.DEVNULL)
print(child.pid, file=sys.stderr, flush=True)
sys.stdin.read()
"""
