"""What runs models: one file and one row of `registry` an engine."""

import sys

# `import openvino` tells a statistics server of its maker that it was imported, through this package, in a
# forked process. Nothing leaves this machine: with the name blocked, OpenVINO takes its own empty stand-in.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
