"""Counts purchases per product in 5 s windows: Kafka -> Structured Streaming -> Kafka, in update mode.

Each result carries the count, the sum of the amounts, the sum of the records' CRC-32 and the newest intended time, so
that a reader who knows the input can say exactly which records it stands for. Only DataFrame operations: no Python
runs on the executors.
"""

import json
import os
import threading
import time
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

BROKERS = os.environ["KAFKA_BROKERS"]
CHECKPOINT = os.environ["CHECKPOINT_DIR"] + "/job"
CHECKPOINT_CONF = [pair.split("=", 1) for pair in os.environ.get("CHECKPOINT_CONF", "").split()]
TRIGGER = os.environ.get("TRIGGER", "1 second")
WATERMARK = os.environ.get("WATERMARK", "15 minutes")
INPUT, OUTPUT = "events", "results"
PROGRESS_PORT = 9402


def session():
    builder = SparkSession.builder.appName("purchases-by-product")
    for key, value in CHECKPOINT_CONF:
        builder = builder.config(key, value)
    return (
        builder
        # One task per core and batch: each further one costs two small files on the checkpoint.
        .config("spark.sql.shuffle.partitions", "3")
        .config("spark.sql.streaming.metricsEnabled", "true")
        .config("spark.ui.prometheus.enabled", "true")
        .config("spark.metrics.namespace", "job")
        .config("spark.sql.session.timeZone", "UTC")
        # The UI keeps its history in the driver's small heap.
        .config("spark.ui.retainedJobs", "50")
        .config("spark.ui.retainedStages", "50")
        .config("spark.ui.retainedTasks", "500")
        .config("spark.sql.ui.retainedExecutions", "20")
        .getOrCreate()
    )


def await_topics(spark):
    """The source fails on a topic that does not exist yet; the generator creates both."""
    jvm = spark.sparkContext._jvm
    settings = jvm.java.util.Properties()
    settings.put("bootstrap.servers", BROKERS)
    settings.put("default.api.timeout.ms", "5000")
    settings.put("request.timeout.ms", "2000")
    while True:
        try:
            admin = jvm.org.apache.kafka.clients.admin.AdminClient.create(settings)
            try:
                names = admin.listTopics().names().get()
                if names.contains(INPUT) and names.contains(OUTPUT):
                    return
            finally:
                admin.close()
        except Exception as error:  # the broker is not up, or its name not known yet
            print("kafka is not ready:", str(error).splitlines()[0], flush=True)
        time.sleep(0.25)


def counts(spark):
    records = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", BROKERS)
        .option("subscribe", INPUT)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .load()
    )
    # id,product,cents,quantity,intendedMs. What cannot be read so, or would be too large to sum up, is skipped: a record
    # that fails the batch would fail it again and again. What is skipped here is what the observer calls unreadable.
    fields = f.split(f.col("value").cast("string"), ",")
    cents, quantity, intended_ms = (f.get(fields, place).try_cast("long") for place in (2, 3, 4))
    purchases = records.select(
        f.get(fields, 1).alias("product"),
        f.try_multiply(cents, quantity).alias("amount"),
        f.crc32("value").alias("crc"),
        f.when(intended_ms.between(0, 2**53 - 1), f.timestamp_millis(intended_ms)).alias("intended"),
    )
    readable = purchases.where(
        (f.length("product") > 0) & f.col("amount").between(0, 2**32 - 1) & f.col("intended").isNotNull()
    )
    return (
        readable.withWatermark("intended", WATERMARK)
        .groupBy(f.window("intended", "5 seconds"), "product")
        .agg(
            f.count("*").alias("count"),
            f.sum("amount").alias("sum"),
            f.sum("crc").alias("crc"),
            f.unix_millis(f.max("intended")).alias("newestMs"),
        )
        .select(f.unix_millis("window.start").alias("windowMs"), "product", "count", "sum", "crc", "newestMs")
    )


def start(spark):
    # No wall-clock column: a replayed batch must look exactly like the first time.
    results = counts(spark).select(
        f.concat_ws("|", "product", "windowMs").alias("key"),
        f.to_json(f.struct("windowMs", "product", "count", "sum", "crc", "newestMs")).alias("value"),
    )
    return (
        results.writeStream.format("kafka")
        # Part of the names of its metrics; without one, an id of the checkpoint would be.
        .queryName("purchases")
        .option("kafka.bootstrap.servers", BROKERS)
        .option("topic", OUTPUT)
        .option("checkpointLocation", CHECKPOINT)
        .outputMode("update")
        .trigger(processingTime=TRIGGER)
        .start()
    )


def committed(application_id, progress):
    """What the newest committed batch says of itself; None until there is one in this run of the driver."""
    if progress is None:
        return None
    progress = json.loads(progress)
    durations = progress["durationMs"]
    ran = "addBatch" in durations
    started = to_ms(progress["timestamp"])
    watermark = progress.get("eventTime", {}).get("watermark")
    state = (progress.get("stateOperators") or [{}])[0]
    return {
        "applicationId": application_id,
        # A trigger that found nothing to do reports the id of the batch that is still to come.
        "batchId": progress["batchId"] if ran else progress["batchId"] - 1,
        "committedAtMs": started + durations.get("triggerExecution", 0) if ran else None,
        "endOffsets": (progress["sources"][0]["endOffset"] or {}).get(INPUT, {}),
        "inputRows": progress.get("numInputRows", 0),
        "durationsMs": durations,
        "stateRows": state.get("numRowsTotal", 0),
        "droppedByWatermark": state.get("numRowsDroppedByWatermark", 0),
        # The one that this batch ran with: windows that end by then are closed in it.
        "watermarkMs": to_ms(watermark) if watermark is not None else None,
    }


def to_ms(timestamp):
    """Epoch ms of a time as Spark writes it."""
    return round(datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp() * 1000)


def serve_progress(spark, query):
    application_id = spark.sparkContext.applicationId
    java_query = query._jsq

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path != "/progress":
                return self.answer(404, {"error": "not found"})
            last = java_query.lastProgress()
            body = committed(application_id, last.json() if last is not None else None)
            self.answer(200, body or {"applicationId": application_id, "batchId": None})

        def answer(self, status, body):
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("0.0.0.0", PROGRESS_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def main():
    spark = session()
    await_topics(spark)
    query = start(spark)
    serve_progress(spark, query)
    # Raises when the query fails: the process ends with an error, and Swarm starts it again from the checkpoint.
    query.awaitTermination()


main()
