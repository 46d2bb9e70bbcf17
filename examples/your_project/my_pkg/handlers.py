"""What a worker does with an event."""

import random
import time


class Declined(Exception):
    """The payment provider said no; trying again may help."""


def charge(event) -> None:
    """Charge the user of one event. Sleeps and chance are simulated time and the seed's luck under tem-sim."""
    time.sleep(random.uniform(0.02, 0.08))
    if random.random() < 0.01:
        raise Declined(f"card of user {event.user_id}")
