"""The only place of the server that knows Flower.

Flower's and Ray's telemetry and update checks are switched off before either is imported, unless the environment says
otherwise: nothing calls home from a hospital network. The last entry is Ray's coming default, which keeps it quiet.
"""

import os

for _name, _value in {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}.items():
    os.environ.setdefault(_name, _value)
