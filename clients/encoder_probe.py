"""What an encoder bundle takes: run as a fresh process that does nothing else.

    python -m clients.encoder_probe BUNDLE   ->   {"imported": .., "peak": .., "encode_s": ..}

Bytes of resident memory at its peak, after the imports and after the texts; the median seconds of a
text of about ten pieces, one at a time, on one thread, by the processor's clock.
"""

import json
import statistics
import sys
import time
from pathlib import Path

from clients.peak_memory import peak_bytes
from models.bundle import LARGEST_BUNDLE_BYTES
from models.encoder import Encoder

TEXT = "a quiet film about the sea and a lighthouse {}"
WARM_UP, TIMED = 20, 200


def main() -> None:
    """Load a bundle, encode texts, print what it took."""
    imported = peak_bytes()
    encoder = Encoder.load(Path(sys.argv[1]), budget_bytes=LARGEST_BUNDLE_BYTES)
    seconds = []
    for number in range(WARM_UP + TIMED):
        started = time.process_time()
        encoder.encode([TEXT.format(number)])
        seconds.append(time.process_time() - started)
    took = statistics.median(seconds[WARM_UP:])
    answer = {"imported": imported, "peak": peak_bytes(), "encode_s": took}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
