"""Sizes that every door and every service holds to."""

MAX_EVENT_BYTES = 256 * 1024
"""An encoded event stays under this."""
MAX_DATA_BYTES = 192 * 1024
"""A task's data as JSON that travels in events: with its envelope, meta and requests it still fits into one."""
MAX_BLOB_BYTES = 16 * 1024 * 1024
"""A task's data as JSON, whole: what does not travel in events is kept in the blob store."""
MAX_BLOBS = 32
"""Fields of a task that are kept in the blob store."""
MAX_META_BYTES = 4 * 1024
"""A task's meta as JSON; it comes back in every event."""
MAX_LINE_BYTES = 20 * 1024 * 1024
"""A line of NDJSON: the largest task, with some room for how it is written."""
MAX_BODY_BYTES = 20 * 1024 * 1024
"""An HTTP body that is not streamed."""
MAX_REGIONS = 10_000
"""Regions in one annotation."""
MAX_PROJECT_BYTES = 192 * 1024
"""A project as JSON: it travels whole in `configs` and `projects`."""
SCORED_TASKS = 10
"""Hold-out tasks below which a version's score says little: drawn as `few`, and not counted by the signal to stop."""
