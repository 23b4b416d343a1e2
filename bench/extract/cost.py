"""Runs one command and says what it cost: `cost.py SECONDS MEMORY OUT ERR COMMAND…` prints status, CPU ms, resident KB.

A program's peak memory counts from its fork, so this process is kept small (some 9 MB); nothing below that can be seen.
"""
import os
import resource
import signal
import sys
import time

seconds, memory, out, err, *command = sys.argv[1:]
child = os.fork()
if not child:
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, file in enumerate((nothing, os.open(out, flags, 0o600), os.open(err, flags, 0o600))):
        os.dup2(file, number)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    try:
        os.execvp(command[0], command)
    except OSError:
        os._exit(127)
until, pause, killed = time.monotonic() + float(seconds), 0.0005, 0
while True:
    pid, status, used = os.wait4(child, os.WNOHANG)
    if pid:
        break
    if not killed and time.monotonic() > until:
        os.killpg(child, signal.SIGKILL)
        killed = 1
    time.sleep(pause)
    pause = min(pause * 1.5, 0.02)
print(os.waitstatus_to_exitcode(status), killed, (used.ru_utime + used.ru_stime) * 1000, used.ru_maxrss)
