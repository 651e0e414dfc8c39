"""Writes a small file where the job keeps its checkpoint, reads it back and removes it, with the job's own client.

try-checkpoint.py <folder> <name of the file> <settings of Spark, key=value, separated by spaces>
Prints what it is doing; the last line of its errors says why that failed. Hadoop's FsShell would be a JVM for each of the
three: this is one, and no session of Spark.
"""

import glob
import os
import sys

SPARK = os.environ.get("SPARK_HOME", "/opt/spark")
sys.path[:0] = glob.glob(f"{SPARK}/python/lib/py4j-*-src.zip")

from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway  # noqa: E402
from py4j.protocol import Py4JJavaError  # noqa: E402

# Of Hadoop's clients: the first refusal is to be told, and not to be waited out for minutes.
ONCE = {
    "fs.s3a.attempts.maximum": "1",
    "fs.s3a.retry.limit": "1",
    "fs.s3a.connection.establish.timeout": "5s",
    "ipc.client.connect.max.retries": "1",
    "ipc.client.connect.max.retries.on.timeouts": "1",
    "ipc.client.connect.timeout": "5000",
    "dfs.client.socket-timeout": "5000",
}


def hadoop(settings):
    """Hadoop's classes in a JVM that ends with this process, and its configuration as Spark would make it."""
    port = launch_gateway(
        jarpath=glob.glob(f"{SPARK}/jars/py4j-*.jar")[0],
        classpath=f"{SPARK}/jars/*",
        javaopts=["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
        die_on_exit=True,
    )
    classes = JavaGateway(gateway_parameters=GatewayParameters(port=port)).jvm.org.apache.hadoop
    configuration = classes.conf.Configuration()
    pairs = [pair.split("=", 1) for pair in settings.split()]
    for key, value in [*pairs, *ONCE.items()]:
        configuration.set(key.removeprefix("spark.hadoop."), value)
    return classes.fs.Path, configuration


def main(folder, name, settings):
    Path, configuration = hadoop(settings)
    path = Path(f"{folder}/{name}")
    content = os.urandom(16)
    try:
        print("writing to", flush=True)
        store = path.getFileSystem(configuration)
        # One that an earlier try has left is replaced.
        stream = store.create(path, True)
        stream.write(content)
        stream.close()
        print("reading from", flush=True)
        stream = store.open(path)
        read = stream.readAllBytes()
        stream.close()
        if read != content:
            sys.exit("what was read is not what was written")
        print("removing from", flush=True)
        store.delete(path, False)
        if store.exists(path):
            sys.exit("what was removed is there")
    except Py4JJavaError as error:
        sys.exit(error.java_exception.toString().splitlines()[0])


main(*sys.argv[1:])
