"""`python -m prelabel_webhooks`: webhooks as a process of its own."""

from prelabel_runtime.run import main

from .service import build
from .settings import WebhooksSettings

if __name__ == "__main__":
    main("webhooks", lambda runtime: [build(runtime, WebhooksSettings())])
