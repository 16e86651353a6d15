"""Every metric of Prelabel, named in one place.

Counters end in _total, durations are in seconds. Labels have few values: groups, topics, classes of error, models;
never a project, task or run, of which there may be millions.
"""

from bisect import bisect_left

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_LONG = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
"""Seconds."""
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)


class Timings(Histogram):
    """A histogram that takes many equal observations at the price of one."""

    def observe_times(self, amount: float, times: int) -> None:
        """As `observe(amount)` so many times."""
        self._sum.inc(amount * times)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(times)


class Metrics:
    """One process's metrics, on a registry of its own."""

    def __init__(self) -> None:  # noqa: PLR0915 - a statement per metric
        r = self.registry = CollectorRegistry()
        # The delivery loop.
        self.received = Counter("prelabel_records_received", "Records read", ["group"], registry=r)
        self.handled = Counter("prelabel_records_handled", "Records done and committed", ["group"], registry=r)
        self.skipped = Counter("prelabel_records_skipped", "Records of types unknown here", ["group"], registry=r)
        self.failed = Counter(
            "prelabel_handling_failed", "Failures while handling, by class of error", ["group", "error"], registry=r
        )
        self.dead_lettered = Counter(
            "prelabel_records_dead_lettered", "Records given up", ["group", "reason"], registry=r
        )
        self.resolved = Counter(
            "prelabel_dead_letters_resolved", "Dead letters handled after a replay", ["group"], registry=r
        )
        self.retried = Counter("prelabel_records_retried", "Records sent to the retry topic", ["group"], registry=r)
        self.published = Counter("prelabel_events_published", "Events published", ["group"], registry=r)
        self.batch_size = Histogram(
            "prelabel_batch_records", "Records per batch", ["group"], buckets=_SIZES, registry=r
        )
        self.handle_seconds = Histogram(
            "prelabel_handle_seconds", "Handling of a batch", ["group"], buckets=_SECONDS, registry=r
        )
        self.complete_seconds = Histogram(
            "prelabel_complete_seconds", "Publishing and committing a batch", ["group"], buckets=_SECONDS, registry=r
        )
        self.hop_seconds = Timings(
            "prelabel_hop_seconds", "From an event's time to its being handled", ["group"], buckets=_SECONDS, registry=r
        )
        self.lag = Gauge("prelabel_lag_records", "Records not read yet", ["group", "topic"], registry=r)
        self.restarts = Counter("prelabel_loop_restarts", "Loops started anew after a defect", ["group"], registry=r)
        # The whole pipeline, as the projection sees it.
        self.oldest_unresolved = Gauge(
            "prelabel_oldest_unresolved_seconds", "Age of the oldest task that waits for an outcome", registry=r
        )
        self.dead_letters = Gauge(
            "prelabel_dead_letters", "Dead letters by what was decided about them", ["group", "state"], registry=r
        )
        self.replayed = Counter("prelabel_dead_letters_replayed", "Dead letters replayed", ["group"], registry=r)
        self.rebuilds = Counter(
            "prelabel_rebuilds", "Rebuilds of the projection, by how they ended", ["end"], registry=r
        )
        # Doors.
        self.submitted = Counter("prelabel_tasks_submitted", "Tasks taken in", ["door"], registry=r)
        self.refused = Counter("prelabel_tasks_refused", "Tasks refused at a door", ["door", "reason"], registry=r)
        self.over_share = Counter(
            "prelabel_tasks_over_share", "Bulk tasks beyond their project's share: they wait in backfill", registry=r
        )
        self.http_seconds = Histogram(
            "prelabel_http_seconds", "Answering HTTP", ["route", "method", "status"], buckets=_SECONDS, registry=r
        )
        # Calls to the outside.
        self.egress_requests = Counter(
            "prelabel_egress_requests", "Outbound calls by purpose and result", ["purpose", "result"], registry=r
        )
        self.egress_seconds = Histogram(
            "prelabel_egress_seconds", "An outbound call, whole", ["purpose"], buckets=_SECONDS, registry=r
        )
        # The gateway.
        self.gateway_failures = Counter(
            "prelabel_gateway_failures", "Requests that a service failed, by why", ["service", "result"], registry=r
        )
        # Webhooks.
        self.webhook_attempts = Counter(
            "prelabel_webhook_attempts", "Attempts to deliver, by result", ["result"], registry=r
        )
        self.webhook_seconds = Histogram(
            "prelabel_webhook_seconds", "An attempt to deliver", buckets=_SECONDS, registry=r
        )
        self.webhook_lag = Gauge(
            "prelabel_webhook_lag_records", "Records an endpoint has not passed yet", ["subscription"], registry=r
        )
        self.webhook_owed = Gauge("prelabel_webhook_owed", "Deliveries that failed and wait", registry=r)
        self.webhook_oldest = Gauge(
            "prelabel_webhook_oldest_undelivered_seconds", "Age of the oldest event that waits", registry=r
        )
        self.webhook_endpoints = Gauge(
            "prelabel_webhook_endpoints", "Endpoints served here, by state", ["state"], registry=r
        )
        self.webhook_disabled = Counter(
            "prelabel_webhook_disabled", "Endpoints disabled, by reason", ["reason"], registry=r
        )
        self.http_limited = Counter(
            "prelabel_http_limited", "Requests refused since there were too many", ["role"], registry=r
        )
        # The blob store.
        self.blob_seconds = Histogram(
            "prelabel_blob_seconds", "Calls of the blob store", ["operation"], buckets=_SECONDS, registry=r
        )
        self.blob_bytes = Counter("prelabel_blob_bytes", "Bytes put and got", ["operation"], registry=r)
        self.blob_failures = Counter(
            "prelabel_blob_failures", "Blobs not had, and calls not answered", ["reason"], registry=r
        )
        # Models.
        self.predicted = Counter(
            "prelabel_predictions", "Outcomes by provider and state", ["provider", "outcome"], registry=r
        )
        self.predict_seconds = Histogram(
            "prelabel_predict_seconds", "A batch in the model worker", ["provider"], buckets=_SECONDS, registry=r
        )
        self.joined = Counter(
            "prelabel_predictions_joined", "Questions that equal ones under way answered", ["provider"], registry=r
        )
        self.regions_dropped = Counter(
            "prelabel_regions_dropped", "Regions a model gave that cannot be kept", ["provider", "reason"], registry=r
        )
        self.worker_restarts = Counter(
            "prelabel_worker_restarts", "Model workers that died", ["provider", "cause"], registry=r
        )
        self.worker_seconds = Counter(
            "prelabel_worker_seconds", "Model workers at inputs (busy), or without any (idle)", ["provider", "state"],
            registry=r,
        )  # fmt: skip
        self.swaps = Counter(
            "prelabel_model_swaps", "Serving versions taken up, by how that ended", ["provider", "result"], registry=r
        )
        self.swap_seconds = Histogram(
            "prelabel_model_load_seconds", "Fetching, loading and trying a version beside what serves", ["provider"],
            buckets=_SECONDS, registry=r,
        )  # fmt: skip
        self.serving = Gauge(
            "prelabel_models_serving", "Models with a serving pointer: current, refused or pending here",
            ["provider", "state"], registry=r,
        )  # fmt: skip
        self.serving_epoch = Gauge(
            "prelabel_serving_epoch", "Greatest epoch of a serving pointer that is served here", ["provider"],
            registry=r,
        )  # fmt: skip

        # Trainings.
        self.trainings_requested = Counter(
            "prelabel_trainings_requested", "Trainings asked for, by why", ["provider", "reason"], registry=r
        )
        self.trainings_cancelled = Counter(
            "prelabel_trainings_cancelled", "Trainings whose end was asked for", ["provider"], registry=r
        )
        self.trainings_ended = Counter(
            "prelabel_trainings_ended", "Trainings that have ended, by how", ["provider", "end"], registry=r
        )
        self.versions_judged = Counter(
            "prelabel_versions_judged", "Versions by what the gate decided, and why", ["outcome", "reason"], registry=r
        )
        self.asked_again = Counter(
            "prelabel_asked_again", "Open tasks that were asked again after a promotion", ["provider"], registry=r
        )
        self.examples_left_out = Counter(
            "prelabel_examples_left_out", "Annotated tasks that a training was not given", ["reason"], registry=r
        )
        self.training_look_seconds = Histogram(
            "prelabel_training_look_seconds", "Deriving what there is to learn", buckets=_SECONDS, registry=r
        )

        # Trainers.
        self.trainer_ended = Counter(
            "prelabel_trainer_ended", "Trainings ended here: trained, or why not", ["provider", "reason"], registry=r
        )
        self.trainer_attempts = Counter(
            "prelabel_trainer_attempts", "Processes started to train", ["provider"], registry=r
        )
        self.trainer_seconds = Histogram(
            "prelabel_trainer_seconds", "A process that trains, whole", ["provider"], buckets=_LONG, registry=r
        )
        self.trainer_running = Gauge("prelabel_trainer_running", "Trainings held here", ["provider"], registry=r)
        self.trainer_lost = Counter(
            "prelabel_trainer_lost", "Trainings that others took over from here", ["provider"], registry=r
        )

        # Services that are called.
        self.remote_calls = Counter(
            "prelabel_remote_calls",
            "Calls of remote providers, by what came of them",
            ["provider", "result"],
            registry=r,
        )
        self.remote_seconds = Histogram(
            "prelabel_remote_call_seconds", "A call, whole", ["provider"], buckets=_SECONDS, registry=r
        )
        self.remote_in_flight = Gauge("prelabel_remote_calls_in_flight", "Calls under way", ["provider"], registry=r)
        self.remote_open = Gauge(
            "prelabel_remote_targets_down", "Targets whose breaker is not closed", ["provider"], registry=r
        )
        self.remote_retries = Counter("prelabel_remote_retries", "Tasks asked about again", ["provider"], registry=r)
        self.remote_unmatched = Counter(
            "prelabel_remote_answers_unmatched",
            "Answers without a task, tasks without",
            ["provider", "why"],
            registry=r,
        )
        self.remote_units = Counter(
            "prelabel_remote_units", "What answers say that they cost, in units", ["provider", "unit"], registry=r
        )
        self.remote_money = Counter(
            "prelabel_remote_money", "What answers say that they cost, in money", ["provider", "currency"], registry=r
        )

    def expose(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self.registry)
