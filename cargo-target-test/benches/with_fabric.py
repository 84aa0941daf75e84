"""What fabric takes for some work on one live connection: prints microseconds."""

import os
import sys
import threading
import time

from fabric import Config, Connection

config = Config(runtime_ssh_path=os.environ["FRESH"])
with Connection("alpha-0", config=config) as connection:
    connection.run("true", hide=True)
    started = time.perf_counter()
    if sys.argv[1] == "true":
        for _ in range(1000):
            connection.run("true", hide=True)
    else:
        sleep = lambda: connection.run("sleep 0.3", hide=True)
        threads = [threading.Thread(target=sleep) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(int((time.perf_counter() - started) * 1e6))
