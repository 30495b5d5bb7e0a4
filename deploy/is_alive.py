"""The health check of the image: 0 if the runtime answers at STEPFLOW_HEALTH_URL (http://127.0.0.1:7838/healthz)."""

from __future__ import annotations

import os
import sys
import urllib.request

try:
    urllib.request.urlopen(os.environ.get("STEPFLOW_HEALTH_URL", "http://127.0.0.1:7838/healthz"), timeout=2)
except OSError as error:
    sys.exit(f"not alive: {error}")
