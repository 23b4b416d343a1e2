"""One peer of `bench/queue/run`: `peer.py SYSTEM JOBS MILLISECONDS URL` enqueues so many jobs, one after another, works them, and
ends when all are acknowledged. A job sleeps for so many milliseconds.

`celery` and `celery_threads` enqueue with publisher confirms and acknowledge late; workers are two processes, or 32 threads of one.
`procrastinate` works 32 jobs at a time in one process.
"""
import asyncio
import os
import sys
import tempfile
import time

SYSTEM, JOBS, SECONDS, URL = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) / 1000, sys.argv[4]
SLOTS = 32
PROCESSES = 2


def celery(pool, slots):
    from celery import Celery
    from kombu import Connection

    queue = "jobs-%d" % os.getpid()
    app = Celery("bench", broker=URL)
    app.conf.update(
        task_default_queue=queue,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        broker_transport_options={"confirm_publish": True},
        worker_hijack_root_logger=False,
    )
    fifo = os.path.join(tempfile.mkdtemp(), "done")
    os.mkfifo(fifo)
    said = []

    @app.task(name="nothing")
    def nothing(n):
        if SECONDS:
            time.sleep(SECONDS)
        if not said:
            said.append(os.open(fifo, os.O_WRONLY))
        os.write(said[0], b".")

    for n in range(JOBS):
        nothing.delay(n)
    app.close()
    worker = os.fork()
    if worker == 0:
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=ERROR"]
        app.worker_main(["worker", f"--pool={pool}", f"--concurrency={slots}", *quiet])
        os._exit(0)
    # Read and write: the end of one writer is not the end.
    done, seen = os.open(fifo, os.O_RDWR), 0
    while seen < JOBS:
        seen += len(os.read(done, 4096))
    os.kill(worker, 15)
    os.waitpid(worker, 0)
    with Connection(URL) as connection:
        left = connection.default_channel.queue_declare(queue, passive=True).message_count
        connection.default_channel.queue_delete(queue)
    if left or seen != JOBS:
        sys.exit(f"{left} jobs are left, {seen} of {JOBS} were run")


async def procrastinate():
    from procrastinate import App, PsycopgConnector

    app = App(connector=PsycopgConnector(conninfo=URL))
    done = []

    @app.task(name="nothing")
    async def nothing(n):
        if SECONDS:
            await asyncio.sleep(SECONDS)
        done.append(n)

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for n in range(JOBS):
            await nothing.defer_async(n=n)
        await app.run_worker_async(concurrency=SLOTS, wait=False, install_signal_handlers=False)
    if len(done) != JOBS:
        sys.exit(f"{len(done)} of {JOBS} were run")


if SYSTEM == "celery":
    celery("prefork", PROCESSES)
elif SYSTEM == "celery_threads":
    celery("threads", SLOTS)
else:
    asyncio.run(procrastinate())
